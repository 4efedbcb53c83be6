# frozen_string_literal: true

require "classwire/v1/classwire_services_pb"
require "grpc/health/v1/health_services_pb"
require_relative "observation"

# A server of the contract, called by the generated stubs.
class Server
  SERVICES = {
    "classwire.v1.ClassifyService" => Classwire::V1::ClassifyService,
    "classwire.v1.ModelService" => Classwire::V1::ModelService,
    "grpc.health.v1.Health" => Grpc::Health::V1::Health
  }.freeze
  GZIP = GRPC::Core::CompressionOptions.new(default_algorithm: :gzip).to_channel_arg_hash

  def initialize(target)
    @channels = { nil => {}, "gzip" => GZIP }.transform_values do |options|
      GRPC::Core::Channel.new(target, options, :this_channel_is_insecure)
    end
  end

  # Makes the vector's call, which ends by its deadline, and returns its results.
  def call(vector)
    observation = Observation.new
    operation = operation(vector)
    # Gets the call object before executing it: executing a unary call blocks until its end.
    operation.cancel if vector.cancel == "at_once"
    responses = operation.execute
    (responses.is_a?(Enumerator) ? responses : [responses]).each do |response|
      observation.receive(response)
      operation.cancel if vector.cancel == "after_first_response"
    end
    observation
  rescue GRPC::BadStatus => e
    observation.tap { observation.fail(e) }
  end

  # Holds the vector's number of streams open while the block runs, and returns the block's value.
  def holding_streams(vector)
    stub = Classwire::V1::ClassifyService::Stub.new(nil, nil, channel_override: @channels[nil])
    over = Queue.new
    held = Array.new(vector.held_streams) do
      config = vector.sent(Classwire::V1::StreamClassifyRequest).first
      sent = Enumerator.new do |messages|
        messages << config
        over.pop
      end
      stub.stream_classify(sent, deadline: vector.deadline, return_op: true)
    end
    held.each { |operation| operation.execute.first }
    yield
  ensure
    held.each(&:cancel)
    over.close
  end

  private

  # Returns the vector's call, which `execute` makes.
  def operation(vector)
    channel = @channels.fetch(vector.compression)
    options = { deadline: vector.deadline, metadata: vector.headers, return_op: true }
    service, method = vector.rpc.split("/")
    rpc = SERVICES[service] && SERVICES[service]::Service.rpc_descs[method.to_sym]
    return operation_without_stub(vector, channel, options) unless rpc

    stub = SERVICES[service]::Stub.new(nil, nil, channel_override: channel)
    is_stream = rpc.input.is_a?(GRPC::RpcDesc::Stream)
    sent = vector.sent(is_stream ? rpc.input.type : rpc.input)
    sent = sent.first unless is_stream
    stub.public_send(GRPC::GenericService.underscore(method), sent, options)
  end

  # Neither a stub nor the server has the method.
  def operation_without_stub(vector, channel, options)
    stub = GRPC::ClientStub.new(nil, nil, channel_override: channel)
    bytes = vector.sent(nil).first.bytes
    stub.request_response("/#{vector.rpc}", bytes, :itself.to_proc, :itself.to_proc, **options)
  end
end
