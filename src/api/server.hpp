// HTTP/1.1 at a Unix socket, for whoever controls a running machine.
//
// A thread of its own does all that depends on clients: reading, writing, encoding. What needs the machine is
// handed to the thread that owns it, one request after the other; nobody waits for a client. Beast stays
// inside server.cpp.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/message.hpp"

namespace vellum::api {

struct ServerLimits {
  unsigned clients = 8;  ///< at a time; a new one takes the place of the one that said nothing longest
  unsigned header_bytes = 8192;    ///< of a request
  unsigned body_bytes = 64 << 10;  ///< likewise
  unsigned seconds = 10;           ///< to send a request, and to take an answer
};

class Server {
 public:
  using Handler = std::function<Rest(const Request&)>;

  /// Listens at `path`, of up to UnixListener::kMaxPath bytes.
  static Result<std::unique_ptr<Server>> create(const std::string& path, Handler handler,
                                                ServerLimits limits = {});
  /// Ends all connections; takes the socket away.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Starts the thread. Call once.
  void start();

  /// Readable when answer() has something to do.
  int fd() const;
  /// Calls the handler for each request that waits. The thread that owns the machine.
  void answer();

 private:
  struct Impl;
  class Session;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::api
