#include "api/server.hpp"

#include <sys/stat.h>
#include <sys/un.h>

#include <future>

#include "api/client.hpp"
#include "fixture.hpp"

namespace vellum::api {
namespace {

const std::string kAsk = "GET /there HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_F(ServerTest, AnswersAClient) {
  serve();
  const auto response = call(path, {"PUT", "/there", "", "a body"});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 200u);
  EXPECT_EQ(response->type, kText);
  EXPECT_EQ(response->body, "PUT /there a body");
}

TEST_F(ServerTest, OneConnectionServesManyRequests) {
  serve();
  const RawClient client(path);
  client.send(kAsk);
  EXPECT_NE(client.receive("GET /there ").find("200 OK"), std::string::npos);
  client.send("GET /last HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(client.receive().ends_with("GET /last <closed>"));
}

TEST_F(ServerTest, WhatIsNoRequestIsRefusedInOneLine) {
  serve();
  const RawClient client(path);
  client.send("\x16\x03\x01 hello\r\n\r\n");
  const std::string answer = client.receive();
  EXPECT_EQ(answer.rfind("HTTP/1.1 400 Bad Request\r\n", 0), 0u) << answer;
  EXPECT_NE(answer.find("\r\n\r\n{\"error\":\"this is no HTTP request: "), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\"}\n<closed>")) << answer;
}

TEST_F(ServerTest, ALargeRequestIsRefused) {
  serve();
  const RawClient body(path), header(path);
  body.send("PUT /there HTTP/1.1\r\nContent-Length: 65\r\n\r\n");
  EXPECT_EQ(body.receive().rfind("HTTP/1.1 413 ", 0), 0u);
  header.send("GET /there HTTP/1.1\r\nA: " + std::string(1000, 'a'));
  EXPECT_EQ(header.receive().rfind("HTTP/1.1 431 ", 0), 0u);
}

TEST_F(ServerTest, AChunkedBodyHasTheSameLimit) {
  serve();
  const RawClient client(path);
  client.send("PUT /there HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n" + std::string(0x50, 'a') +
              "\r\n0\r\n\r\n");
  EXPECT_EQ(client.receive().rfind("HTTP/1.1 413 ", 0), 0u);
}

TEST_F(ServerTest, WhoStallsIsLeftAloneAndThenHungUpOn) {
  serve();
  const RawClient stalled(path);
  stalled.send("GET /there HTTP/1.1\r\nHo");
  EXPECT_TRUE(call(path, {"GET", "/there", "", ""}));
  EXPECT_EQ(stalled.receive(), "<closed>");
}

TEST_F(ServerTest, WhoDoesNotReadItsAnswerIsHungUpOn) {
  serve([](const Request& request) -> Rest {
    return [size = request.target == "/large" ? std::size_t{8} << 20 : 1] {
      return Response{200, kText, std::string(size, 'x'), {}};
    };
  });
  const RawClient deaf(path);
  deaf.send("GET /large HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(call(path, {"GET", "/there", "", ""}));
  EXPECT_TRUE(deaf.hung_up());
  EXPECT_LT(deaf.receive().size(), std::size_t{8} << 20);
}

TEST_F(ServerTest, OfTooManyClientsTheOldestSilentOneGoes) {
  serve();
  const RawClient first(path), second(path), third(path);
  EXPECT_EQ(first.receive(), "<closed>");
  third.send(kAsk);
  EXPECT_NE(third.receive("GET /there").find("200 OK"), std::string::npos);
}

TEST_F(ServerTest, ABusyOwnerKeepsOnlyWhoAsksItWaiting) {
  std::promise<void> go;
  serve([&](const Request& request) {
    if (request.target == "/slow") go.get_future().wait();
    return echo(request);
  });
  const RawClient slow(path), garbage(path);
  slow.send("GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n");
  garbage.send("?\r\n\r\n");
  EXPECT_EQ(garbage.receive().rfind("HTTP/1.1 400 ", 0), 0u);
  go.set_value();
  EXPECT_TRUE(slow.receive().ends_with("GET /slow <closed>"));
}

TEST_F(ServerTest, ARequestThatNobodyAnsweredEndsWithTheServer) {
  auto created = Server::create(path, echo, kLimits);
  ASSERT_TRUE(created);
  server = std::move(*created);
  server->start();
  const RawClient client(path);
  client.send(kAsk);
  pollfd wait{server->fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&wait, 1, 10'000), 1);
  end();
  EXPECT_EQ(client.receive(), "<closed>");
}

TEST_F(ServerTest, TheSocketIsItsUsersAndGoesAtTheEnd) {
  serve();
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  const auto second = Server::create(path, echo);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message, "'" + path + "' is another machine's; take another path");
  end();
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST_F(ServerTest, ADeadProcessSocketIsReplacedAndAFileIsNot) {
  {
    const FileDescriptor dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{AF_UNIX, {}};
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  serve();
  EXPECT_TRUE(call(path, {"GET", "/there", "", ""}));
  const auto over_file = Server::create(dir.write("file", {1}), echo);
  ASSERT_FALSE(over_file);
  EXPECT_NE(over_file.error().message.find("exists and is not a socket"), std::string::npos);
}

TEST_F(ServerTest, AClientSaysWhyThereIsNoAnswer) {
  const auto nobody = call(path, {"GET", "/there", "", ""});
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().message,
            "'" + path +
                "': No such file or directory; it is to be the socket of a machine that "
                "runs with 'vellum run --control'");
  serve([](const Request&) -> Rest { return [] { return error_response(404, "nothing is here"); }; });
  const auto refused = call(path, {"GET", "/there", "", ""});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "'" + path + "': nothing is here");
}

}  // namespace
}  // namespace vellum::api
