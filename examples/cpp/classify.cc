// Classifies one text: classify HOST:PORT TEXT [CA.pem]

#include <classwire/v1/classwire.grpc.pb.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>
#include <thread>

#include "channel.h"
#include "problem.h"

using classwire::v1::ClassifyRequest;
using classwire::v1::ClassifyResponse;
using classwire::v1::ClassifyService;
using Clock = std::chrono::system_clock;

// Returns the answer, or the last error before the deadline.
grpc::Status Classify(ClassifyService::Stub& stub, const ClassifyRequest& request,
                      Clock::time_point deadline, ClassifyResponse* response) {
  while (true) {
    grpc::ClientContext context;  // for one attempt
    // The server knows the deadline and rejects at once a call that it can't answer by then.
    context.set_deadline(deadline);
    const grpc::Status status = stub.Classify(&context, request, response);

    // A busy server tells when to retry.
    const auto retry_after = ProblemOf(status).retry_after;
    if (!retry_after || Clock::now() + *retry_after > deadline) return status;
    std::this_thread::sleep_for(*retry_after);
  }
}

// Returns what to do about an error. Decides by the reason, whose meaning never changes.
std::string Advice(const Problem& problem) {
  if (problem.reason == "EMPTY_TEXT" || problem.reason == "TEXT_TOO_LARGE") {
    return "send another " + problem.field;
  }
  if (problem.reason == "TOO_MANY_TOKENS") {
    return "set options.truncation: windows read all of it, DROP_END drops its end";
  }
  if (problem.reason == "POISON_INPUT") return "do not retry; tell the operator";
  if (problem.retry_after) return "allow more time";
  return problem.message;
}

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "classify HOST:PORT TEXT [CA.pem]\n";
    return 2;
  }
  const auto stub = ClassifyService::NewStub(OpenChannel(argv[1], argc > 3 ? argv[3] : ""));
  ClassifyRequest request;
  request.mutable_input()->set_text(argv[2]);

  ClassifyResponse response;
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  const grpc::Status status = Classify(*stub, request, deadline, &response);
  if (!status.ok()) {
    const Problem problem = ProblemOf(status);
    std::cerr << problem.reason << ": " << Advice(problem) << "\n";
    return 1;
  }
  const auto& best = response.result().scores(0);
  std::printf("%s %.4f\n", best.label().c_str(), best.score());
}
