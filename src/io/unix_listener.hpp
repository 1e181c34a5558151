// Sockets with a name in the file system: one that a machine serves, and connecting to one.
#pragma once

#include <string>

#include "base/fd.hpp"

namespace vellum {

/// A listening stream socket at a path, which only processes of the same user may connect to. A lock at
/// PATH.lock says that it is served, so what a dead process left behind is known for that and replaced. The
/// destructor takes both away.
class UnixListener {
 public:
  /// What sockaddr_un has room for.
  static constexpr std::size_t kMaxPath = 107;

  /// `path`: of up to kMaxPath bytes. Errors name it: somebody serves it, it is not a socket, it cannot be
  /// made.
  static Result<UnixListener> create(const std::string& path);
  UnixListener() = default;
  UnixListener(UnixListener&&) noexcept = default;
  UnixListener& operator=(UnixListener&&) noexcept = default;
  ~UnixListener();

  /// Does not block.
  int fd() const { return socket_.get(); }

 private:
  std::string path_;
  FileDescriptor lock_, socket_;
};

/// A connection that does not block to whoever serves `path`; none, with errno: nobody does, or is too busy
/// to answer at once.
FileDescriptor connect_unix(const std::string& path);

}  // namespace vellum
