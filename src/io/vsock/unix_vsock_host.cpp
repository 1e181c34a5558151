#include "io/vsock/unix_vsock_host.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/key_values.hpp"
#include "base/log.hpp"

namespace vellum {
namespace {

constexpr auto kRetry = std::chrono::milliseconds(100);
constexpr int kBacklog = 64, kBatch = 16;
constexpr std::size_t kLongestCall = 32;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);  // whoever gave it has checked the length
  return address;
}

// SAFETY: the socket functions take any address as a sockaddr.
const sockaddr* as_sockaddr(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

FileDescriptor new_socket() {
  return FileDescriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// Takes a path away that nobody serves any more. Its lock is ours.
Result<> clear_path(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode))
    return fail(ErrorCode::kInvalidArgument, "'{}' exists and is not a socket; take another path", path);
  const FileDescriptor probe = new_socket();
  if (!probe) return fail_errno("cannot create a socket", errno);
  const sockaddr_un address = address_of(path);
  if (::connect(probe.get(), as_sockaddr(address), sizeof address) == 0 || errno != ECONNREFUSED)
    return fail(ErrorCode::kInvalidArgument, "'{}' is in use by another program; take another path", path);
  (void)::unlink(path.c_str());
  return {};
}

// A lock that its owner takes away at the end: it is one only while it is found at its path.
Result<FileDescriptor> lock_path(const std::string& path) {
  const std::string name = path + ".lock";
  VELLUM_TRY_ASSIGN(lock, FileDescriptor::open(name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  struct stat ours {
  }, there{};
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0 || ::fstat(lock.get(), &ours) != 0 ||
      ::stat(name.c_str(), &there) != 0 || ours.st_ino != there.st_ino || ours.st_dev != there.st_dev)
    return fail(ErrorCode::kInvalidArgument, "'{}' is another machine's; take another path", path);
  return {std::move(lock)};
}

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

UnixVsockHost::~UnixVsockHost() {
  // While the lock is still ours.
  if (socket_) (void)::unlink(path_.c_str());
  if (lock_) (void)::unlink((path_ + ".lock").c_str());
}

Result<std::unique_ptr<UnixVsockHost>> UnixVsockHost::create(EventLoop& loop, const std::string& path) {
  std::unique_ptr<UnixVsockHost> host(new UnixVsockHost(loop, path));
  VELLUM_TRY(host->serve());
  return host;
}

Result<> UnixVsockHost::serve() {
  VELLUM_TRY_ASSIGN(lock, lock_path(path_));
  VELLUM_TRY(clear_path(path_));
  FileDescriptor socket = new_socket();
  const sockaddr_un address = address_of(path_);
  if (!socket || ::fchmod(socket.get(), 0600) != 0 ||
      ::bind(socket.get(), as_sockaddr(address), sizeof address) != 0 ||
      ::listen(socket.get(), kBacklog) != 0)
    return fail_errno(fmt::format("cannot listen at '{}'", path_), errno);
  VELLUM_TRY_ASSIGN_TO(
      poll_, SocketPoll::create(loop_, [this](u64 caller, SocketPoll::Ready) { read_call(caller); }));
  VELLUM_TRY_ASSIGN_TO(accept_,
                       loop_.watch(socket.get(), EventLoop::Direction::kRead, [this] { accept_callers(); }));
  accept_->arm();
  lock_ = std::move(lock);
  socket_ = std::move(socket);
  return {};
}

FileDescriptor UnixVsockHost::connect(u32 port) {
  FileDescriptor socket = new_socket();
  // GUEST-CONTROLLED: the port, which is all that a guest has to say about the path.
  const sockaddr_un address = address_of(fmt::format("{}_{}", path_, port));
  // A listener whose queue is full is busy: nobody answers.
  if (!socket || ::connect(socket.get(), as_sockaddr(address), sizeof address) != 0) return {};
  return socket;
}

void UnixVsockHost::accept_callers() {
  for (int count = 0; count < kBatch; ++count) {
    FileDescriptor caller(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
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
