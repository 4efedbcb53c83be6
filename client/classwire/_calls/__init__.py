"""Unary calls: their messages, their steps, and what they return."""
