#include "api/client.hpp"

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/unix_listener.hpp"

namespace vellum::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Local = asio::local::stream_protocol;
using ErrorCodeOf = boost::system::error_code;

constexpr auto kPatience = std::chrono::seconds(30);
/// The largest screen, 4096 × 4096, has 48 MiB.
constexpr u64 kMostBytes = u64{64} << 20;

tl::unexpected<Error> no_machine(const std::string& socket, int why) {
  std::error_code error;
  const bool other = why == ECONNREFUSED && !std::filesystem::is_socket(socket, error);
  const char* const what = other                 ? "it is no socket"
                           : why == ECONNREFUSED ? "nobody serves it any more"
                                                 : std::strerror(why);
  return fail(ErrorCode::kNotFound,
              "'{}': {}; it is to be the socket of a machine that runs with 'vellum run --control'", socket,
              what);
}

Response plain(http::response<http::string_body>&& message) {
  return {
      message.result_int(), std::string(message[http::field::content_type]), std::move(message.body()), {}};
}

// What the machine says is wrong, or what came instead of that.
std::string refusal(const Response& response) {
  const auto json = nlohmann::json::parse(response.body, nullptr, false);
  if (json.is_object() && json.contains("error") && json["error"].is_string())
    return json["error"].get<std::string>();
  return fmt::format("it answered with HTTP status {}; is it a machine's?", response.status);
}

Result<Response> exchange(const std::string& socket, const FileDescriptor& connection,
                          const Request& request) {
  asio::io_context context{1};
  beast::basic_stream<Local> stream(context);
  stream.socket().assign(Local(), ::dup(connection.get()));
  http::request<http::string_body> message;
  message.version(11);
  message.method_string(request.method);
  message.target(request.target);
  message.set(http::field::host, "localhost");
  if (!request.accept.empty()) message.set(http::field::accept, request.accept);
  message.keep_alive(false);
  message.body() = request.body;
  message.prepare_payload();
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMostBytes);
  ErrorCodeOf result;
  stream.expires_after(kPatience);
  http::async_write(stream, message, [&](const ErrorCodeOf& error, std::size_t) {
    // A server that refuses early has answered even so.
    result = error;
    if (error && error != asio::error::broken_pipe) return;
    http::async_read(stream, buffer, parser, [&](const ErrorCodeOf& last, std::size_t) { result = last; });
  });
  context.run();
  if (result == beast::error::timeout)
    return fail(ErrorCode::kHost, "'{}': no answer within {} seconds; is the machine stopped?", socket,
                kPatience.count());
  if (result == http::error::end_of_stream || result == asio::error::connection_reset ||
      result == asio::error::eof)
    return fail(ErrorCode::kHost, "'{}': the machine ended before it answered", socket);
  if (result) return fail(ErrorCode::kHost, "'{}': {}; is it a machine's?", socket, result.message());
  return plain(parser.release());
}

}  // namespace

Result<Response> call(const std::string& socket, const Request& request) {
  if (socket.empty() || socket.size() > UnixListener::kMaxPath)
    return fail(ErrorCode::kInvalidArgument, "'{}': a socket's path has 1 to {} bytes", socket,
                UnixListener::kMaxPath);
  const FileDescriptor connection = connect_unix(socket);
  if (!connection) return no_machine(socket, errno);
  // Asio throws when the host refuses its descriptors.
  try {
    VELLUM_TRY_ASSIGN(response, exchange(socket, connection, request));
    if (response.status >= 400) return fail(ErrorCode::kBadInput, "'{}': {}", socket, refusal(response));
    return std::move(response);
  } catch (const std::exception& error) {
    return fail(ErrorCode::kHost, "'{}': {}", socket, error.what());
  }
}

}  // namespace vellum::api
