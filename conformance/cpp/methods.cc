#include "methods.h"

#include <classwire/v1/classwire.grpc.pb.h>
#include <google/protobuf/empty.pb.h>
#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/generic/generic_stub.h>

#include <functional>
#include <map>
#include <vector>

#include "attempt.h"

using classwire::v1::ClassifyService;
using classwire::v1::ModelService;
using classwire::v1::StreamClassifyRequest;
using classwire::v1::StreamClassifyResponse;
using grpc::ByteBuffer;
using grpc::ClientContext;
using grpc::CompletionQueue;
using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

namespace {

using Method = std::function<void(const Channel&, Attempt&)>;

std::string PathOf(const Json& vector) { return "/" + vector["rpc"].get<std::string>(); }

// Sends bytes that no message can hold without the stub; the response is a message.
template <class Response>
void SendBytes(const Channel& channel, Attempt& attempt) {
  const auto bytes = FromBase64(attempt.vector["request_bytes"]);
  grpc::TemplatedGenericStub<ByteBuffer, Response> stub(channel);
  attempt.Receive<Response>(
      *stub.PrepareUnaryCall(&attempt.context, PathOf(attempt.vector), bytes, &attempt.queue));
}

template <class Stub, class Request, class Response>
Method Unary(std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> (Stub::*prepare)(
    ClientContext*, const Request&, CompletionQueue*)) {
  return [prepare](const Channel& channel, Attempt& attempt) {
    if (attempt.vector.contains("request_bytes")) return SendBytes<Response>(channel, attempt);
    Stub stub(channel);
    const auto request = FromJson<Request>(attempt.vector["request"]);
    attempt.Receive<Response>(*(stub.*prepare)(&attempt.context, request, &attempt.queue));
  };
}

void Watch(const Channel& channel, Attempt& attempt) {
  const auto request = FromJson<HealthCheckRequest>(attempt.vector["request"]);
  Health::Stub stub(channel);
  attempt.ReceiveAll<HealthCheckResponse>(
      *stub.PrepareAsyncWatch(&attempt.context, request, &attempt.queue), [] {});
}

// Sends all messages, then closes its side; receives responses meanwhile.
template <class Request>
void Exchange(grpc::ClientAsyncReaderWriter<Request, StreamClassifyResponse>& call,
              Attempt& attempt, const std::vector<Request>& requests) {
  std::size_t next = 0;
  attempt.ReceiveAll<StreamClassifyResponse>(call, [&] {
    if (next < requests.size()) {
      call.Write(requests[next], Attempt::kSent);
    } else if (next == requests.size()) {
      call.WritesDone(Attempt::kSent);
    }
    ++next;
  });
}

void Stream(const Channel& channel, Attempt& attempt) {
  std::vector<StreamClassifyRequest> messages;
  std::vector<ByteBuffer> buffers;
  bool has_bytes = false;
  for (const auto& request : attempt.vector["requests"]) {
    if (request.contains("bytes")) {
      has_bytes = true;
      buffers.push_back(FromBase64(request["bytes"]));
    } else {
      messages.push_back(FromJson<StreamClassifyRequest>(request["message"]));
      buffers.push_back(ToBuffer(messages.back().SerializeAsString()));
    }
  }
  if (has_bytes) {
    grpc::TemplatedGenericStub<ByteBuffer, StreamClassifyResponse> stub(channel);
    Exchange(*stub.PrepareCall(&attempt.context, PathOf(attempt.vector), &attempt.queue), attempt,
             buffers);
  } else {
    ClassifyService::Stub stub(channel);
    Exchange(*stub.PrepareAsyncStreamClassify(&attempt.context, &attempt.queue), attempt, messages);
  }
}

const std::map<std::string, Method> kMethods = {
    {"classwire.v1.ClassifyService/Classify", Unary(&ClassifyService::Stub::PrepareAsyncClassify)},
    {"classwire.v1.ClassifyService/BatchClassify",
     Unary(&ClassifyService::Stub::PrepareAsyncBatchClassify)},
    {"classwire.v1.ClassifyService/StreamClassify", Stream},
    {"classwire.v1.ClassifyService/Tokenize", Unary(&ClassifyService::Stub::PrepareAsyncTokenize)},
    {"classwire.v1.ClassifyService/Rank", Unary(&ClassifyService::Stub::PrepareAsyncRank)},
    {"classwire.v1.ClassifyService/ZeroShotClassify",
     Unary(&ClassifyService::Stub::PrepareAsyncZeroShotClassify)},
    {"classwire.v1.ModelService/ListModels", Unary(&ModelService::Stub::PrepareAsyncListModels)},
    {"classwire.v1.ModelService/GetModel", Unary(&ModelService::Stub::PrepareAsyncGetModel)},
    {"classwire.v1.ModelService/GetServerInfo",
     Unary(&ModelService::Stub::PrepareAsyncGetServerInfo)},
    {"grpc.health.v1.Health/Check", Unary(&Health::Stub::PrepareAsyncCheck)},
    {"grpc.health.v1.Health/Watch", Watch},
};

}  // namespace

Json Call(const Channel& channel, const Json& vector) {
  Attempt attempt(vector);
  const auto method = kMethods.find(vector["rpc"]);
  if (method != kMethods.end()) {
    method->second(channel, attempt);
  } else {  // neither a stub nor the server has the method
    SendBytes<google::protobuf::Empty>(channel, attempt);
  }
  return attempt.observed;
}
