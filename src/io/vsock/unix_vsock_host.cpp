#include "io/vsock/unix_vsock_host.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/key_values.hpp"
#include "base/log.hpp"

namespace vellum {
namespace {

constexpr auto kRetry = std::chrono::milliseconds(100);
constexpr int kBatch = 16;
constexpr std::size_t kLongestCall = 32;

}  // namespace

std::optional<u32> parse_vsock_call(std::string_view line) {
  u32 port = 0;
  if (line.ends_with('\r')) line.remove_suffix(1);
  const std::string_view word = take_until(line, ' ');
  if (word != "CONNECT" || !parse_number(line, port)) return std::nullopt;
  return port;
}

UnixVsockHost::UnixVsockHost(EventLoop& loop, std::string path) : loop_(loop), path_(std::move(path)) {
  accept_later_ = loop_.delay([this] { accept_callers(); });
}

Result<std::unique_ptr<UnixVsockHost>> UnixVsockHost::create(EventLoop& loop, const std::string& path) {
  std::unique_ptr<UnixVsockHost> host(new UnixVsockHost(loop, path));
  VELLUM_TRY(host->serve());
  return host;
}

Result<> UnixVsockHost::serve() {
  VELLUM_TRY_ASSIGN(listener, UnixListener::create(path_));
  VELLUM_TRY_ASSIGN_TO(
      poll_, SocketPoll::create(loop_, [this](u64 caller, SocketPoll::Ready) { read_call(caller); }));
  VELLUM_TRY_ASSIGN_TO(accept_,
                       loop_.watch(listener.fd(), EventLoop::Direction::kRead, [this] { accept_callers(); }));
  accept_->arm();
  socket_ = std::move(listener);
  return {};
}

// GUEST-CONTROLLED: the port, which is all that a guest has to say about the path. A listener whose queue is
// full is busy: nobody answers.
FileDescriptor UnixVsockHost::connect(u32 port) {
  return connect_unix(fmt::format("{}_{}", path_, port));
}

void UnixVsockHost::accept_callers() {
  for (int count = 0; count < kBatch; ++count) {
    FileDescriptor caller(::accept4(socket_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!caller) {
      if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) break;
      VELLUM_WARN_GUEST("'{}': cannot accept a connection: errno {}", path_, errno);
      accept_later_->arm(kRetry);
      return;
    }
    const u64 number = next_caller_++;
    if (!poll_->add(caller.get(), number)) continue;
    callers_.emplace(number, std::move(caller));
    // Who says nothing must not keep others out.
    if (callers_.size() > kMaxCallers) callers_.erase(callers_.begin());
  }
  accept_->arm();
}

// What comes behind the line is the stream's: it is looked at first, then exactly the line is taken.
void UnixVsockHost::read_call(u64 number) {
  const auto found = callers_.find(number);
  if (found == callers_.end()) return;
  std::array<char, kLongestCall> bytes;
  const ssize_t got = ::recv(found->second.get(), bytes.data(), bytes.size(), MSG_PEEK);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  const std::string_view text(bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  const std::size_t end = text.find('\n');
  if (end == text.npos && !text.empty() && text.size() < bytes.size()) return;  // the rest is on its way
  FileDescriptor caller = std::move(found->second);
  callers_.erase(found);
  poll_->remove(caller.get());
  if (end == text.npos) return;
  const auto port = parse_vsock_call(text.substr(0, end));
  (void)::recv(caller.get(), bytes.data(), end + 1, 0);
  if (port && listener_) listener_(std::move(caller), *port);
}

}  // namespace vellum
