"""A second model that scores a share of a model's texts; no caller gets its answers."""
