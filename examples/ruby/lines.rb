# frozen_string_literal: true

# Lines of text between standard input and their results. One thread reads them, one sends them, one
# receives what becomes of them.
class Lines
  READ_AHEAD = 1_000

  def initialize(input)
    @mutex = Mutex.new # guards all below
    @changed = ConditionVariable.new
    @waiting = {} # texts by the line's number: read, and not sent
    @unanswered = {} # sent, and without a result
    @is_all_read = false
    @stream = nil # that takes them
    Thread.new { read_all(input) }
  end

  # Gives the lines to a new stream, which it returns; what the last left unanswered comes first.
  def open
    change do
      @waiting = @unanswered.merge(@waiting)
      @unanswered = {}
      @stream = Object.new
    end
  end

  # Waits for lines, and takes those that are there and may go in one message; none when there are
  # no more, or not for this stream.
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

  # The stream is over: nobody waits for it any more.
  def close
    change { @stream = nil }
  end

  # How many have no result, of those that were read.
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
