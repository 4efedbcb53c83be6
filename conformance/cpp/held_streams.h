// Streams that stay open during a call.
#pragma once

#include <classwire/v1/classwire.grpc.pb.h>

#include <list>
#include <memory>
#include <stdexcept>

#include "attempt.h"

// During its lifetime, the vector's number of streams is open.
class HeldStreams {
 public:
  HeldStreams(const std::shared_ptr<grpc::Channel>& channel, const Json& vector) : stub_(channel) {
    for (int count = vector.value("held_streams", 0); count > 0; --count) Open(vector);
  }

  ~HeldStreams() {
    for (auto& held : streams_) {
      held.context.TryCancel();
      held.stream->Finish();
    }
  }

 private:
  using Request = classwire::v1::StreamClassifyRequest;
  using Response = classwire::v1::StreamClassifyResponse;
  struct Stream {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> stream;
  };

  void Open(const Json& vector) {
    auto& held = streams_.emplace_back();
    held.context.set_deadline(DeadlineOf(vector));
    held.stream = stub_.StreamClassify(&held.context);
    held.stream->Write(FromJson<Request>(vector["requests"][0]["message"]));
    Response response;
    if (!held.stream->Read(&response) || !response.has_started()) {
      throw std::runtime_error("a stream to be held did not start");
    }
  }

  classwire::v1::ClassifyService::Stub stub_;
  std::list<Stream> streams_;
};
