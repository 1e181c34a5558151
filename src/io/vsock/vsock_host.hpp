// What a virtio-vsock device calls on the host, and who calls through it: streams between the guest's ports
// and the host's. Threads: the event loop's.
#pragma once

#include <functional>

#include "base/fd.hpp"

namespace vellum {

class VsockHost {
 public:
  virtual ~VsockHost() = default;
  /// A stream to whoever answers at the host's `port`, as a socket that does not block; none: nobody does.
  virtual FileDescriptor connect(u32 port) = 0;
  /// Somebody wants the guest's `port`. Without a listener, calls are refused.
  using Listener = std::function<void(FileDescriptor socket, u32 port)>;
  virtual void listen(Listener listener) = 0;
};

}  // namespace vellum
