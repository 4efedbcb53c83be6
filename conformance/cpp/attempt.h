// One call: its vector, its events, and its results.
#pragma once

#include <classwire/v1/classwire.pb.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>

#include <chrono>
#include <functional>
#include <string>
#include <type_traits>

#include "failure.h"
#include "json.h"

inline std::chrono::system_clock::time_point DeadlineOf(const Json& vector) {
  const std::chrono::duration<double> timeout(vector.value("timeout_s", 30.0));
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(timeout);
}

class Attempt {
 public:
  explicit Attempt(const Json& its_vector) : vector(its_vector) {
    context.set_deadline(DeadlineOf(vector));
    const Json headers = vector.value("headers", Json::object());
    for (const auto& [name, value] : headers.items()) context.AddMetadata(name, value);
    if (vector.value("compression", "") == "gzip") {
      context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    }
  }

  // Starts a unary call and returns when it has ended.
  template <class Response>
  void Receive(grpc::ClientAsyncResponseReader<Response>& call) {
    Response response;
    grpc::Status status;
    call.StartCall();
    CancelIf("at_once");
    call.Finish(&response, &status, kEnded);
    void* event;
    bool is_ok;
    queue.Next(&event, &is_ok);
    if (status.ok()) observed["response"] = ToJson(response);
    Observe(status);
  }

  // Starts a stream and returns when it has ended. `send` starts to send the next message, if any.
  template <class Response, class Call>
  void ReceiveAll(Call& call, const std::function<void()>& send) {
    Response response;
    grpc::Status status;
    call.StartCall(kStarted);
    CancelIf("at_once");
    void* event;
    bool is_ok, is_over = false;
    while (queue.Next(&event, &is_ok)) {
      if (event == kEnded) {
        is_over = true;
        queue.Shutdown();
      } else if (event == kSent) {
        if (is_ok && !is_over) send();
      } else if (!is_ok) {  // the stream did not start, or has no further response
        call.Finish(&status, kEnded);
      } else {
        if (event == kStarted) send();
        if (event == kReceived) Observe(response);
        call.Read(&response, kReceived);
      }
    }
    Observe(status);
  }

  const Json& vector;
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  Json observed = {{"results", Json::object()}, {"order", Json::array()}};

  // Events of a call; only the addresses matter.
  static inline char events[4];
  static inline void *const kStarted = &events[0], *const kSent = &events[1],
                            *const kReceived = &events[2], *const kEnded = &events[3];

 private:
  void CancelIf(const std::string& when) {
    if (vector.value("cancel", "") == when) context.TryCancel();
  }

  template <class Response>
  void Observe(const Response& response) {
    if (!observed.contains("first_response")) observed["first_response"] = ToJson(response);
    if constexpr (std::is_same_v<Response, classwire::v1::StreamClassifyResponse>) {
      for (const auto& result : response.results().results()) {
        const bool is_again = observed["results"].contains(result.id());
        observed["results"][result.id() + (is_again ? " again" : "")] = ToJson(result.outcome());
        observed["order"].push_back(result.id());
      }
    }
    CancelIf("after_first_response");
  }

  void Observe(const grpc::Status& status) {
    if (!status.ok()) observed["error"] = ToJson(status);
  }
};
