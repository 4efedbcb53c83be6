package conformance;

import com.google.protobuf.Empty;
import com.google.protobuf.Message;
import dev.classwire.v1.ClassifyServiceGrpc;
import dev.classwire.v1.ModelServiceGrpc;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.ServiceDescriptor;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.protobuf.ProtoUtils;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.List;

/** A generated method whose requests are bytes, since no message can hold some of them. */
record Method(MethodDescriptor<byte[], Message> descriptor, Message request) {
  private static final List<ServiceDescriptor> SERVICES =
      List.of(
          ClassifyServiceGrpc.getServiceDescriptor(),
          ModelServiceGrpc.getServiceDescriptor(),
          HealthGrpc.getServiceDescriptor());

  /** Returns the method of a full name; one that no service has is unary. */
  static Method named(String name) {
    for (ServiceDescriptor service : SERVICES) {
      for (MethodDescriptor<?, ?> method : service.getMethods()) {
        if (method.getFullMethodName().equals(name)) {
          return of(name, method.getType(), prototype(method.getRequestMarshaller()),
              prototype(method.getResponseMarshaller()));
        }
      }
    }
    return of(name, MethodType.UNARY, Empty.getDefaultInstance(), Empty.getDefaultInstance());
  }

  private static Method of(String name, MethodType type, Message request, Message response) {
    return new Method(
        MethodDescriptor.newBuilder(new Bytes(), ProtoUtils.marshaller(response))
            .setFullMethodName(name)
            .setType(type)
            .build(),
        request);
  }

  private static Message prototype(MethodDescriptor.Marshaller<?> marshaller) {
    return (Message) ((PrototypeMarshaller<?>) marshaller).getMessagePrototype();
  }

  private static final class Bytes implements MethodDescriptor.Marshaller<byte[]> {
    @Override
    public InputStream stream(byte[] bytes) {
      return new ByteArrayInputStream(bytes);
    }

    @Override
    public byte[] parse(InputStream stream) {
      try {
        return stream.readAllBytes();
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
  }
}
