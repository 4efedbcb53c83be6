package example;

import dev.classwire.v1.StreamItem;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The lines without a result. It outlives streams; any thread may call any method. */
final class Backlog {
  private static final int READ_AHEAD = 1000;
  private static final int MESSAGE_BYTES = 1 << 20; // about; a server takes 4 MiB by default

  private final Deque<StreamItem> next = new ArrayDeque<>();
  private final Map<String, StreamItem> sent = new HashMap<>();
  private boolean isAllRead;
  private boolean isOpen; // the current stream

  /** Adds an item; blocks while too many are unsent. */
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

  /** Waits until there is an item to send; false if no more will come. */
  synchronized boolean awaitItem() throws InterruptedException {
    while (next.isEmpty() && !isAllRead) {
      wait();
    }
    isOpen = !next.isEmpty();
    return isOpen;
  }

  /**
   * Returns the items of the next message; none if all are sent or the stream is over. Waits until
   * the window has room for a full message: full messages make a stream fast.
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

  /** Ends the current stream; its unanswered items go to the next one. */
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
