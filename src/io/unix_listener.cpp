#include "io/unix_listener.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

namespace vellum {
namespace {

constexpr int kBacklog = 64;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  static_assert(UnixListener::kMaxPath == sizeof address.sun_path - 1);
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, UnixListener::kMaxPath);  // whoever gave it has checked the length
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
  FileDescriptor lock(::open(name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!lock && errno == ENOENT) return fail_errno(fmt::format("cannot listen at '{}'", path), errno);
  if (!lock)
    return fail_errno(fmt::format("cannot listen at '{}': cannot open its lock '{}'", path, name), errno);
  struct stat ours {
  }, there{};
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0 || ::fstat(lock.get(), &ours) != 0 ||
      ::stat(name.c_str(), &there) != 0 || ours.st_ino != there.st_ino || ours.st_dev != there.st_dev)
    return fail(ErrorCode::kInvalidArgument, "'{}' is another machine's; take another path", path);
  return {std::move(lock)};
}

}  // namespace

Result<UnixListener> UnixListener::create(const std::string& path) {
  VELLUM_TRY_ASSIGN(lock, lock_path(path));
  VELLUM_TRY(clear_path(path));
  FileDescriptor socket = new_socket();
  const sockaddr_un address = address_of(path);
  if (!socket || ::fchmod(socket.get(), 0600) != 0 ||
      ::bind(socket.get(), as_sockaddr(address), sizeof address) != 0 ||
      ::listen(socket.get(), kBacklog) != 0)
    return fail_errno(fmt::format("cannot listen at '{}'", path), errno);
  UnixListener listener;
  listener.path_ = path;
  listener.lock_ = std::move(lock);
  listener.socket_ = std::move(socket);
  return listener;
}

UnixListener::~UnixListener() {
  // While the lock is still ours.
  if (socket_) (void)::unlink(path_.c_str());
  if (lock_) (void)::unlink((path_ + ".lock").c_str());
}

FileDescriptor connect_unix(const std::string& path) {
  FileDescriptor socket = new_socket();
  const sockaddr_un address = address_of(path);
  if (!socket || ::connect(socket.get(), as_sockaddr(address), sizeof address) != 0) return {};
  return socket;
}

}  // namespace vellum
