// A server with an owner that answers, and a client that sends whatever bytes it likes.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "../temp_dir.hpp"
#include "api/server.hpp"
#include "io/unix_listener.hpp"

namespace vellum::api {

class RawClient {
 public:
  explicit RawClient(const std::string& path) : socket_(connect_unix(path)) { EXPECT_TRUE(socket_); }
  void send(std::string_view text) const {
    EXPECT_EQ(::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  /// What comes until `end` is in it, the server hangs up, or for 10 seconds nothing does.
  std::string receive(std::string_view end = "no such text") const {
    std::string all;
    char bytes[4096];
    for (pollfd wait{socket_.get(), POLLIN, 0}; ::poll(&wait, 1, 10'000) == 1;) {
      const ssize_t got = ::read(socket_.get(), bytes, sizeof bytes);
      if (got <= 0) return all + "<closed>";
      all.append(bytes, static_cast<std::size_t>(got));
      if (all.find(end) != all.npos) return all;
    }
    return all + "<open>";
  }
  /// Whether the server hangs up within 10 seconds; nothing is read.
  bool hung_up() const {
    pollfd wait{socket_.get(), 0, 0};
    return ::poll(&wait, 1, 10'000) == 1;
  }

 private:
  FileDescriptor socket_;
};

/// Answers with what was asked: "GET /target body".
inline Rest echo(const Request& request) {
  return [text = request.method + " " + request.target + " " + request.body] {
    return Response{200, kText, text, {}};
  };
}

class ServerTest : public ::testing::Test {
 protected:
  static constexpr ServerLimits kLimits{2, 512, 64, 1};

  void serve(Server::Handler handler = echo) {
    auto created = Server::create(path, std::move(handler), kLimits);
    ASSERT_TRUE(created) << created.error().message;
    server = std::move(*created);
    server->start();
    owner = std::thread([this] {
      for (pollfd wait{server->fd(), POLLIN, 0}; !ended;)
        if (::poll(&wait, 1, 10) == 1) server->answer();
    });
  }
  ~ServerTest() override { end(); }
  void end() {
    ended = true;
    if (owner.joinable()) owner.join();
    server.reset();
  }

  test::TempDir dir;
  const std::string path = dir.path("control");
  std::unique_ptr<Server> server;
  std::atomic<bool> ended = false;
  std::thread owner;
};

}  // namespace vellum::api
