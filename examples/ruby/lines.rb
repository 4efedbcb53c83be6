# frozen_string_literal: true

# Lines of text between standard input and their results. One thread reads lines, one sends them, one
# receives their results.
class Lines
  READ_AHEAD = 1_000

  def initialize(input)
    @mutex = Mutex.new # guards the fields below
    @changed = ConditionVariable.new
    @waiting = {} # texts by line number: read, not sent yet
    @unanswered = {} # sent, without a result
    @is_all_read = false
    @stream = nil # the current stream
    Thread.new { read_all(input) }
  end

  # Starts and returns a new stream; the last one's unanswered lines come first.
  def open
    change do
      @waiting = @unanswered.merge(@waiting)
      @unanswered = {}
      @stream = Object.new
    end
  end

  # Waits for lines and takes as many as fit into one message; none at the end of the lines or of
  # this stream.
  def take(stream, limits)
    change do
      wait_until do
        stream != @stream || (@waiting.empty? ? @is_all_read : room(limits).positive?)
      end
      taken = stream == @stream ? @waiting.first(room(limits)).to_h : {}
      @waiting.reject! { |number, _| taken.key?(number) }
      @unanswered.merge!(taken)
      taken
    end
  end

  def answered(number)
    change { @unanswered.delete(number) }
  end

  # Ends the stream and wakes the threads that wait for it.
  def close
    change { @stream = nil }
  end

  # Returns the number of lines without a result.
  def count
    change { @waiting.size + @unanswered.size }
  end

  private

  def room(limits)
    [limits.window_items - @unanswered.size, limits.max_items_per_message].min
  end

  def read_all(input)
    input.each_line(chomp: true).with_index(1) do |text, number|
      change do
        wait_until { @waiting.size < READ_AHEAD }
        @waiting[number] = text
      end
    end
    change { @is_all_read = true }
  end

  def change
    @mutex.synchronize { yield.tap { @changed.broadcast } }
  end

  def wait_until
    @changed.wait(@mutex) until yield
  end
end
