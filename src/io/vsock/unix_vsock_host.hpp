// Vsock by Unix sockets, in Firecracker's scheme:
//
//   host -> guest   connect to PATH, send "CONNECT <port>\n"; "OK <host port>\n" comes back, then the stream
//   guest -> host   the guest's call of the host's port N is a connection to PATH_N
//
// Threads: the event loop's, or any while no thread runs.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "io/unix_listener.hpp"
#include "io/vsock/socket_poll.hpp"
#include "io/vsock/vsock_host.hpp"

namespace vellum {

class UnixVsockHost final : public VsockHost {
 public:
  /// Callers that have not said yet whom they want.
  static constexpr std::size_t kMaxCallers = 64;
  /// Room for the longest of them: PATH_4294967295.
  static constexpr std::size_t kMaxPath = UnixListener::kMaxPath - 11;

  /// Serves `path`, of up to kMaxPath bytes, which only processes of the same user may connect to.
  static Result<std::unique_ptr<UnixVsockHost>> create(EventLoop& loop, const std::string& path);

  FileDescriptor connect(u32 port) override;
  void listen(Listener listener) override { listener_ = std::move(listener); }

 private:
  UnixVsockHost(EventLoop& loop, std::string path);
  Result<> serve();
  void accept_callers();
  void read_call(u64 caller);

  EventLoop& loop_;
  const std::string path_;
  UnixListener socket_;
  Listener listener_;
  std::unique_ptr<EventLoop::Watch> accept_;
  std::unique_ptr<EventLoop::Delay> accept_later_;
  std::unique_ptr<SocketPoll> poll_;
  std::map<u64, FileDescriptor> callers_;  ///< oldest first
  u64 next_caller_ = 0;
};

/// The port in a caller's "CONNECT <port>", without its end of line. Nothing: it is none.
std::optional<u32> parse_vsock_call(std::string_view line);

}  // namespace vellum
