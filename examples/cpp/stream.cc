// Classifies each line of standard input, which may be endless: stream HOST:PORT [CA.pem]
// Prints each line's number, label and score, or its number and the error's reason.

#include <classwire/v1/classwire.grpc.pb.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <iomanip>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "channel.h"
#include "lines.h"
#include "problem.h"

using classwire::v1::ClassifyService;
using classwire::v1::StreamClassifyRequest;
using classwire::v1::StreamClassifyResponse;
using classwire::v1::StreamResult;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience(60);  // without a response from any server

void Print(const StreamResult& result) {
  std::cout << result.id() << '\t';
  if (result.outcome().has_error()) {  // of this line alone
    std::cout << result.outcome().error().reason() << '\n';
  } else {
    const auto& best = result.outcome().classification().scores(0);
    std::cout << best.label() << '\t' << std::fixed << std::setprecision(4) << best.score() << '\n';
  }
}

// Sends lines on one stream and prints their results, until all are answered or the stream ends.
grpc::Status Stream(ClassifyService::Stub& stub, Lines& lines, Clock::time_point* last_word) {
  grpc::ClientContext context;
  const auto stream = stub.StreamClassify(&context);
  StreamClassifyRequest request;
  // A stream has no deadline, but each item has; it starts when the server reads the item.
  request.mutable_config()->mutable_item_timeout()->set_seconds(60);
  stream->Write(request);
  StreamClassifyResponse response;
  if (!stream->Read(&response)) return stream->Finish();

  // Reads results while sending: a client that only writes fills HTTP/2's window and blocks.
  lines.Open();
  std::thread sender([&stream, &lines, request, limits = response.started()]() mutable {
    while (lines.Take(limits, request.mutable_items()) && stream->Write(request)) {
    }
    stream->WritesDone();
  });
  do {
    *last_word = Clock::now();
    for (const auto& result : response.results().results()) {
      lines.Answered(result.id());
      Print(result);
    }
    std::cout.flush();
  } while (stream->Read(&response));
  lines.Close();
  sender.join();
  return stream->Finish();
}

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "stream HOST:PORT [CA.pem]\n";
    return 2;
  }
  const auto stub = ClassifyService::NewStub(OpenChannel(argv[1], argc > 2 ? argv[2] : ""));
  // The reader may still wait for a line when the program ends, so it shares ownership.
  const auto lines = std::make_shared<Lines>();
  std::thread([lines] { lines->ReadAll(std::cin); }).detach();

  std::mt19937 random(std::random_device{}());
  std::uniform_int_distribution<> pause_ms(100, 1'000);  // so that clients do not retry all at once
  auto last_word = Clock::now();
  while (true) {
    const grpc::Status status = Stream(*stub, *lines, &last_word);
    if (status.ok()) return 0;
    // Any stream may end with UNAVAILABLE: the server drains, restarts or is gone. It ends with
    // CANCELLED if the server stopped before it saw the stream. A new stream sends the remaining
    // lines. TOO_MANY_STREAMS carries a retry time.
    const Problem problem = ProblemOf(status);
    const bool is_worth_it = status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                             status.error_code() == grpc::StatusCode::CANCELLED ||
                             problem.retry_after;
    if (!is_worth_it || Clock::now() - last_word > kPatience) {
      std::cerr << problem.reason << ": " << problem.message << "; " << lines->Count()
                << " lines without a result\n";
      return 1;
    }
    const std::chrono::milliseconds pause(pause_ms(random));
    std::this_thread::sleep_for(problem.retry_after.value_or(pause));
  }
}
