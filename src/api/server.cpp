#include "api/server.hpp"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/log.hpp"
#include "io/signals.hpp"
#include "io/unix_listener.hpp"

namespace vellum::api {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Local = asio::local::stream_protocol;
using ErrorCodeOf = boost::system::error_code;

namespace {

constexpr auto kAcceptAgain = std::chrono::milliseconds(100);

}  // namespace

struct Server::Impl {
  struct Waiting {
    std::shared_ptr<Session> session;
    Request request;
  };

  Impl(Handler to, ServerLimits within, UnixListener from, EventFd event)
      : handler(std::move(to)), limits(within), listener(std::move(from)), asked(std::move(event)) {}
  ~Impl() {
    context.stop();
    if (thread.joinable()) thread.join();
  }

  void accept();
  void begin(Local::socket socket);
  void ask(std::shared_ptr<Session> session, Request request);

  const Handler handler;
  const ServerLimits limits;
  UnixListener listener;
  const EventFd asked;
  asio::io_context context{1};
  Local::acceptor acceptor{context};
  asio::steady_timer accept_again{context};
  std::list<std::weak_ptr<Session>> sessions;  // oldest first; the server's thread
  std::mutex mutex;                            // waiting; a leaf
  std::deque<Waiting> waiting;
  std::thread thread;
};

/// A client's connection: reads a request, has it answered, writes the answer, and so on. The server's
/// thread.
class Server::Session final : public std::enable_shared_from_this<Session> {
 public:
  Session(Server::Impl& server, Local::socket socket) : server_(server), stream_(std::move(socket)) {}

  bool idle() const { return idle_; }
  void close() {
    ErrorCodeOf ignored;
    stream_.socket().close(ignored);
  }

  void read() {
    parser_.emplace();
    parser_->header_limit(server_.limits.header_bytes);
    parser_->body_limit(server_.limits.body_bytes);
    idle_ = true;
    stream_.expires_after(std::chrono::seconds(server_.limits.seconds));
    http::async_read(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](const ErrorCodeOf& error, std::size_t) { self->got(error); });
  }

  void write(const Response& response) {
    answer_.emplace(static_cast<http::status>(response.status), version_);
    answer_->set(http::field::server, "vellum");
    answer_->set(http::field::content_type, response.type);
    answer_->set(http::field::cache_control, "no-store");
    if (!response.allow.empty()) answer_->set(http::field::allow, response.allow);
    answer_->body() = response.body;
    answer_->keep_alive(keep_alive_);
    answer_->prepare_payload();
    stream_.expires_after(std::chrono::seconds(server_.limits.seconds));
    http::async_write(stream_, *answer_, [self = shared_from_this()](const ErrorCodeOf& error, std::size_t) {
      if (!error && self->keep_alive_) return self->read();
      self->close();
    });
  }

 private:
  void got(const ErrorCodeOf& error) {
    idle_ = false;
    if (error) return refuse(error);
    const auto& message = parser_->get();
    version_ = message.version();
    keep_alive_ = message.keep_alive();
    Request request;
    request.method = std::string(message.method_string());
    request.target = std::string(message.target());
    request.accept = std::string(message[http::field::accept]);
    request.body = message.body();
    // What is not a client's doing takes the time that it takes.
    stream_.expires_never();
    server_.ask(shared_from_this(), std::move(request));
  }

  // Who went away, or let the time pass, hears no answer.
  void refuse(const ErrorCodeOf& error) {
    keep_alive_ = false;
    if (error == http::error::body_limit)
      return write(
          error_response(413, fmt::format("the body is larger than {} bytes", server_.limits.body_bytes)));
    if (error == http::error::header_limit || error == http::error::buffer_overflow)
      return write(error_response(
          431, fmt::format("the header is larger than {} bytes", server_.limits.header_bytes)));
    const bool bad = error.category() == make_error_code(http::error::bad_method).category();
    if (bad && error != http::error::end_of_stream && error != http::error::partial_message)
      return write(error_response(400, fmt::format("this is no HTTP request: {}", error.message())));
    close();
  }

  Server::Impl& server_;
  beast::basic_stream<Local> stream_;
  beast::flat_buffer buffer_{16 << 10};
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> answer_;
  unsigned version_ = 11;
  bool keep_alive_ = false;
  bool idle_ = false;  ///< waits for its client to ask
};

Result<std::unique_ptr<Server>> Server::create(const std::string& path, Handler handler,
                                               ServerLimits limits) {
  VELLUM_TRY_ASSIGN(listener, UnixListener::create(path));
  VELLUM_TRY_ASSIGN(asked, EventFd::create());
  // Asio throws when the host refuses its descriptors.
  try {
    auto impl = std::make_unique<Impl>(std::move(handler), limits, std::move(listener), std::move(asked));
    const int fd = ::dup(impl->listener.fd());
    if (fd < 0) return fail_errno(fmt::format("cannot serve '{}'", path), errno);
    impl->acceptor.assign(Local(), fd);
    return std::unique_ptr<Server>(new Server(std::move(impl)));
  } catch (const std::exception& error) {
    return fail(ErrorCode::kHost, "cannot serve '{}': {}", path, error.what());
  }
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

void Server::start() {
  impl_->accept();
  impl_->thread = std::thread([&impl = *impl_] {
    while (!impl.context.stopped()) {
      try {
        impl.context.run();
      } catch (const std::exception& error) {
        // Memory that a request wanted, say. The guest is none the worse for it.
        spdlog::warn("control socket: {}", error.what());
      }
    }
  });
}

int Server::fd() const {
  return impl_->asked.fd();
}

void Server::answer() {
  impl_->asked.clear();
  for (;;) {
    Impl::Waiting next;
    {
      const std::scoped_lock lock(impl_->mutex);
      if (impl_->waiting.empty()) return;
      next = std::move(impl_->waiting.front());
      impl_->waiting.pop_front();
    }
    asio::post(impl_->context, [session = std::move(next.session), rest = impl_->handler(next.request)] {
      session->write(rest());
    });
  }
}

void Server::Impl::ask(std::shared_ptr<Session> session, Request request) {
  {
    const std::scoped_lock lock(mutex);
    waiting.push_back({std::move(session), std::move(request)});
  }
  asked.notify();
}

void Server::Impl::accept() {
  acceptor.async_accept([this](const ErrorCodeOf& error, Local::socket socket) {
    if (!error) {
      begin(std::move(socket));
      return accept();
    }
    // Out of descriptors, say: they come back when clients leave.
    spdlog::warn("control socket: cannot accept a connection: {}", error.message());
    accept_again.expires_after(kAcceptAgain);
    accept_again.async_wait([this](const ErrorCodeOf& stopped) {
      if (!stopped) accept();
    });
  });
}

void Server::Impl::begin(Local::socket socket) {
  sessions.remove_if([](const auto& session) { return session.expired(); });
  if (sessions.size() >= limits.clients) {
    const auto oldest = std::ranges::find_if(sessions, [](const auto& weak) {
      const auto session = weak.lock();
      return session != nullptr && session->idle();
    });
    if (oldest == sessions.end()) return;  // all are being answered: this one is closed instead
    if (const auto session = oldest->lock()) session->close();
    sessions.erase(oldest);
  }
  const auto session = std::make_shared<Session>(*this, std::move(socket));
  sessions.push_back(session);
  session->read();
}

}  // namespace vellum::api
