// Lines of text between standard input and their results.
#pragma once

#include <classwire/v1/classwire.pb.h>

#include <condition_variable>
#include <cstdint>
#include <istream>
#include <map>
#include <mutex>
#include <string>

// One thread reads lines, one sends them, one receives their results.
class Lines {
 public:
  // Reads all lines, with a bounded read-ahead.
  void ReadAll(std::istream& input) {
    std::string text;
    for (std::int64_t number = 1; std::getline(input, text); ++number) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return waiting_.size() < kReadAhead; });
      waiting_[number] = text;
      changed_.notify_all();
    }
    const std::lock_guard lock(mutex_);
    is_all_read_ = true;
    changed_.notify_all();
  }

  // Starts a new stream and sends the last one's unanswered lines again.
  void Open() {
    const std::lock_guard lock(mutex_);
    waiting_.merge(unanswered_);
    is_open_ = true;
  }

  // Waits for lines and takes as many as fit into one message; false if no more will come.
  bool Take(const classwire::v1::StreamStarted& limits, classwire::v1::StreamItems* items) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      const bool is_room = unanswered_.size() < limits.window_items();
      return !is_open_ || (waiting_.empty() ? is_all_read_ : is_room);
    });
    if (!is_open_) return false;
    items->Clear();
    while (!waiting_.empty() && unanswered_.size() < limits.window_items() &&
           items->items_size() < static_cast<int>(limits.max_items_per_message())) {
      const auto line = unanswered_.insert(waiting_.extract(waiting_.begin())).position;
      auto& item = *items->add_items();
      item.set_id(std::to_string(line->first));
      item.mutable_input()->set_text(line->second);
    }
    changed_.notify_all();
    return items->items_size() > 0;
  }

  void Answered(const std::string& id) {
    const std::lock_guard lock(mutex_);
    unanswered_.erase(std::stoll(id));
    changed_.notify_all();
  }

  // Ends the stream and wakes the threads that wait for it.
  void Close() {
    const std::lock_guard lock(mutex_);
    is_open_ = false;
    changed_.notify_all();
  }

  // Returns the number of lines without a result.
  std::size_t Count() {
    const std::lock_guard lock(mutex_);
    return waiting_.size() + unanswered_.size();
  }

 private:
  static constexpr std::size_t kReadAhead = 1'000;

  std::mutex mutex_;  // guards the fields below
  std::condition_variable changed_;
  std::map<std::int64_t, std::string> waiting_;     // read, not sent yet
  std::map<std::int64_t, std::string> unanswered_;  // sent, without a result
  bool is_all_read_ = false;
  bool is_open_ = false;
};
