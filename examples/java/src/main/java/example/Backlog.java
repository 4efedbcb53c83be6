package example;

import dev.classwire.v1.StreamItem;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What has been read and has no result. It outlives streams; any thread may call any method. */
final class Backlog {
  private static final int READ_AHEAD = 1000;
  private static final int MESSAGE_BYTES = 1 << 20; // about; a server takes 4 MiB by default

  private final Deque<StreamItem> next = new ArrayDeque<>();
  private final Map<String, StreamItem> sent = new HashMap<>();
  private boolean isAllRead;
  private boolean isOpen; // the present stream

  /** Takes an item in, no faster than items are sent. */
  synchronized void add(StreamItem item) throws InterruptedException {
    while (next.size() >= READ_AHEAD) {
      wait();
    }
    next.add(item);
    notifyAll();
  }

  synchronized void allRead() {
    isAllRead = true;
    notifyAll();
  }

  /** Waits for something to open a stream for; false when there will be nothing any more. */
  synchronized boolean awaitItem() throws InterruptedException {
    while (next.isEmpty() && !isAllRead) {
      wait();
    }
    isOpen = !next.isEmpty();
    return isOpen;
  }

  /**
   * The items of the next message; none when all are sent, or the stream is over. Waits for room
   * for a whole message: full messages are what makes a stream fast.
   */
  synchronized List<StreamItem> take(int window, int most) throws InterruptedException {
    while (isOpen && (next.isEmpty() ? !isAllRead : sent.size() + most > window)) {
      wait();
    }
    List<StreamItem> items = new ArrayList<>();
    int bytes = 0;
    while (isOpen && !next.isEmpty() && items.size() < most && bytes < MESSAGE_BYTES) {
      StreamItem item = next.remove();
      sent.put(item.getId(), item);
      items.add(item);
      bytes += item.getSerializedSize();
    }
    notifyAll();
    return items;
  }

  synchronized void answered(String id) {
    sent.remove(id);
    notifyAll();
  }

  /** Ends the present stream: what it has not answered is taken for the next one. */
  synchronized void streamEnded() {
    isOpen = false;
    next.addAll(sent.values());
    sent.clear();
    notifyAll();
  }

  synchronized int size() {
    return next.size() + sent.size();
  }
}
