// Reads a long text in windows: windows HOST:PORT TEXT [CA.pem]
// Prints label and score of the whole text, then of each window, with the part that it reads.

#include <classwire/v1/classwire.grpc.pb.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <string>

#include "channel.h"
#include "problem.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "windows HOST:PORT TEXT [CA.pem]\n";
    return 2;
  }
  const auto stub = classwire::v1::ClassifyService::NewStub(
      OpenChannel(argv[1], argc > 3 ? argv[3] : ""));
  const std::string text = argv[2];
  classwire::v1::ClassifyRequest request;
  request.mutable_input()->set_text(text);
  auto& options = *request.mutable_options();
  options.set_truncation(classwire::v1::TRUNCATION_WINDOWS);
  // Small windows tell where a label rises; by default they have the model's max_tokens.
  options.mutable_windows()->set_window_tokens(24);
  options.set_include_windows(true);
  options.set_offset_unit(classwire::v1::OFFSET_UNIT_UTF8);  // for substr

  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  classwire::v1::ClassifyResponse response;
  const grpc::Status status = stub->Classify(&context, request, &response);
  if (!status.ok()) {
    const Problem problem = ProblemOf(status);
    std::cerr << problem.reason << ": " << problem.message << "\n";
    return 1;
  }
  const auto& scores = response.result().scores();  // highest first
  std::printf("%s\t%.4f\n", scores[0].label().c_str(), scores[0].score());
  std::map<int, std::string> labels;
  for (const auto& score : scores) labels[score.label_id()] = score.label();
  for (const auto& window : response.result().windows()) {
    const auto best = std::max_element(window.scores().begin(), window.scores().end());
    const auto& label = labels[best - window.scores().begin()];
    const auto part = text.substr(window.start(), window.end() - window.start());
    std::printf("%s\t%.4f\t%s\n", label.c_str(), *best, part.c_str());
  }
}
