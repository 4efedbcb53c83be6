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
  // Reads all lines, no further ahead than there is need for.
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

  // A new stream: what the last one left unanswered is sent again.
  void Open() {
    const std::lock_guard lock(mutex_);
    waiting_.merge(unanswered_);
    is_open_ = true;
  }

  // Waits for lines, and takes those that are there and may go in one message; false when no more
  // will.
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

  // The stream is over: nobody waits for it any more.
  void Close() {
    const std::lock_guard lock(mutex_);
    is_open_ = false;
    changed_.notify_all();
  }

  // How many have no result, of those that were read.
  std::size_t Count() {
    const std::lock_guard lock(mutex_);
    return waiting_.size() + unanswered_.size();
  }

 private:
  static constexpr std::size_t kReadAhead = 1'000;

  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::map<std::int64_t, std::string> waiting_;     // read, and not sent
  std::map<std::int64_t, std::string> unanswered_;  // sent, and without a result
  bool is_all_read_ = false;
  bool is_open_ = false;
};
