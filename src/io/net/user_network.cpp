#include "io/net/user_network.hpp"

#include <arpa/inet.h>
#include <slirp/libslirp.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/log.hpp"
#include "io/net/finish.hpp"

namespace vellum::net {
namespace {

constexpr u32 kNetwork = 0x0a000200;  // 10.0.2.0/24, addresses as QEMU's users know them
constexpr u32 kMask = 0xffffff00;
constexpr u32 kGateway = kNetwork + 2;
constexpr u32 kNameServer = kNetwork + 3;
constexpr u32 kFirstLease = kNetwork + 15;

in_addr ipv4(u32 host_order) {
  return {htonl(host_order)};
}

i64 now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

u32 epoll_of(int slirp_events) {
  u32 events = 0;
  if ((slirp_events & SLIRP_POLL_IN) != 0) events |= EPOLLIN;
  if ((slirp_events & SLIRP_POLL_OUT) != 0) events |= EPOLLOUT;
  if ((slirp_events & SLIRP_POLL_PRI) != 0) events |= EPOLLPRI;
  return events;
}

int slirp_of(u32 epoll_events) {
  int events = 0;
  if ((epoll_events & EPOLLIN) != 0) events |= SLIRP_POLL_IN;
  if ((epoll_events & EPOLLOUT) != 0) events |= SLIRP_POLL_OUT;
  if ((epoll_events & EPOLLPRI) != 0) events |= SLIRP_POLL_PRI;
  if ((epoll_events & EPOLLERR) != 0) events |= SLIRP_POLL_ERR;
  if ((epoll_events & EPOLLHUP) != 0) events |= SLIRP_POLL_HUP;
  return events;
}

}  // namespace

/// A timer of libslirp's, in milliseconds of its clock.
struct UserNetwork::Timer {
  std::unique_ptr<EventLoop::Delay> delay;
};

struct UserNetwork::Callbacks {
  static UserNetwork& self(void* opaque) { return *static_cast<UserNetwork*>(opaque); }

  static ssize_t send_packet(const void* data, std::size_t size, void* opaque) {
    self(opaque).deliver({static_cast<const u8*>(data), size});
    return static_cast<ssize_t>(size);
  }
  static void guest_error(const char* message, void*) { VELLUM_WARN_GUEST("user network: {}", message); }
  static int64_t clock_get_ns(void*) { return now_ns(); }
  static void* timer_new(SlirpTimerCb callback, void* argument, void* opaque) {
    auto timer = std::make_unique<Timer>();
    timer->delay = self(opaque).loop_.delay([callback, argument] { callback(argument); });
    return timer.release();
  }
  static void timer_free(void* timer, void*) { delete static_cast<Timer*>(timer); }
  static void timer_mod(void* timer, int64_t expire_ms, void*) {
    static_cast<Timer*>(timer)->delay->arm(std::chrono::nanoseconds(expire_ms * 1'000'000 - now_ns()));
  }
  static void register_poll_fd(int, void*) {}
  static void unregister_poll_fd(int fd, void* opaque) { self(opaque).forget(fd); }
  static void notify(void* opaque) { self(opaque).update_soon(); }

  static int add_poll(int fd, int events, void* opaque) {
    UserNetwork& net = self(opaque);
    Socket& socket = net.sockets_[fd];
    socket.wanted = events;
    socket.round = net.round_;
    return fd;
  }
  static int get_revents(int fd, void* opaque) {
    UserNetwork& net = self(opaque);
    const auto socket = net.sockets_.find(fd);
    return socket == net.sockets_.end() ? 0 : slirp_of(std::exchange(socket->second.found, 0));
  }

  static SlirpCb make_table() {
    SlirpCb table{};
    table.send_packet = send_packet;
    table.guest_error = guest_error;
    table.clock_get_ns = clock_get_ns;
    table.timer_new = timer_new;
    table.timer_free = timer_free;
    table.timer_mod = timer_mod;
    table.register_poll_fd = register_poll_fd;
    table.unregister_poll_fd = unregister_poll_fd;
    table.notify = notify;
    return table;
  }
};

Result<std::unique_ptr<Network>> UserNetwork::create(EventLoop& loop, const NetConfig& config) {
  std::unique_ptr<UserNetwork> network(new UserNetwork(loop));
  VELLUM_TRY(network->start(config));
  return network;
}

Result<> UserNetwork::start(const NetConfig& config) {
  epoll_ = FileDescriptor(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return fail_errno("--net user: cannot create an epoll descriptor", errno);
  SlirpConfig slirp{};
  slirp.version = 4;
  slirp.restricted = config.restricted ? 1 : 0;
  slirp.in_enabled = true;
  slirp.vnetwork = ipv4(kNetwork);
  slirp.vnetmask = ipv4(kMask);
  slirp.vhost = ipv4(kGateway);
  slirp.vdhcp_start = ipv4(kFirstLease);
  slirp.vnameserver = ipv4(kNameServer);
  slirp.in6_enabled = config.ipv6;
  ::inet_pton(AF_INET6, "fec0::", &slirp.vprefix_addr6);
  slirp.vprefix_len = 64;
  ::inet_pton(AF_INET6, "fec0::2", &slirp.vhost6);
  ::inet_pton(AF_INET6, "fec0::3", &slirp.vnameserver6);
  static const SlirpCb callbacks = Callbacks::make_table();  // libslirp keeps the address
  slirp_ = ::slirp_new(&slirp, &callbacks, this);
  if (slirp_ == nullptr) return fail(ErrorCode::kHost, "--net user: libslirp refuses to start");

  for (const PortForward& forward : config.forwards) {
    errno = 0;
    if (::slirp_add_hostfwd(slirp_, forward.udp ? 1 : 0, ipv4(forward.host_address), forward.host_port,
                            in_addr{0}, forward.guest_port) == 0)
      continue;
    const int error = errno;
    std::array<char, INET_ADDRSTRLEN> text{};
    const in_addr address = ipv4(forward.host_address);
    ::inet_ntop(AF_INET, &address, text.data(), text.size());
    return fail(ErrorCode::kHost, "--net user: cannot listen on {} port {} {}: {}; {}",
                forward.udp ? "udp" : "tcp", text.data(), forward.host_port, std::strerror(error),
                error == EADDRNOTAVAIL ? "it is to be an address of this host"
                                       : "forward another port of the host's");
  }
  auto watch = loop_.watch(epoll_.get(), EventLoop::Direction::kRead, [this] { on_ready(); });
  if (!watch) return tl::unexpected(std::move(watch).error().context("--net user"));
  watch_ = std::move(*watch);
  delay_ = loop_.delay([this] { work(); });
  update_sockets();
  return {};
}

UserNetwork::~UserNetwork() {
  watch_.reset();
  delay_.reset();
  if (slirp_ != nullptr) ::slirp_cleanup(slirp_);
}

void UserNetwork::connect(FrameReceiver* receiver) {
  to_guest_.connect(receiver);
  receiver_ready();
}

void UserNetwork::receiver_ready() {
  to_guest_.flush();
  if (!to_guest_.blocked()) update_soon();
}

void UserNetwork::take(const Frame& frame) {
  // A copy: libslirp reads headers again and again, and the pieces may be guest RAM.
  const std::size_t size = frame_size(frame.pieces);
  if (input_.size() < size) input_.resize(kMaxFrame);
  const std::span<u8> bytes = gather(frame.pieces, input_);
  traffic_.sent(size);
  if (frame.offload.needs_checksum) finish_checksum(bytes, frame.offload);
  ::slirp_input(slirp_, bytes.data(), static_cast<int>(bytes.size()));
  update_soon();
}

void UserNetwork::deliver(std::span<const u8> frame) {
  if (frame.size() < kMinFrame || frame.size() > kMaxFrame) {
    traffic_.dropped.add();
    return;
  }
  FrameOffload offload;
  offload.checksum_valid = true;  // libslirp made it
  const iovec piece{const_cast<u8*>(frame.data()), frame.size()};
  to_guest_.put({offload, {&piece, 1}});
}

void UserNetwork::on_ready() {
  watching_ = false;
  work();
}

void UserNetwork::work() {
  if (!to_guest_.blocked()) poll_sockets();
  update_sockets();
}

void UserNetwork::poll_sockets() {
  std::array<epoll_event, 64> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int n = 0; n < count; ++n) {
    const auto socket = sockets_.find(events[static_cast<std::size_t>(n)].data.fd);
    if (socket != sockets_.end()) socket->second.found = events[static_cast<std::size_t>(n)].events;
  }
  ::slirp_pollfds_poll(slirp_, count < 0 ? 1 : 0, Callbacks::get_revents, this);
}

// Once for all that the guest sends in one go.
void UserNetwork::update_soon() {
  if (std::exchange(*update_pending_, true)) return;
  loop_.post([this, pending = std::weak_ptr<bool>(update_pending_)] {
    const auto alive = pending.lock();
    if (!alive) return;
    *alive = false;
    update_sockets();
  });
}

void UserNetwork::update_sockets() {
  // While the guest takes nothing, nothing is read from sockets for it: their senders wait.
  if (to_guest_.blocked()) {
    delay_->disarm();
    return;
  }
  ++round_;
  u32 timeout_ms = ~u32{0};
  ::slirp_pollfds_fill(slirp_, &timeout_ms, Callbacks::add_poll, this);
  for (auto at = sockets_.begin(); at != sockets_.end();) {
    const auto current = at++;
    if (current->second.round != round_) current->second.wanted = 0;
    update_socket(current->first, current->second);
    if (current->second.registered == 0) sockets_.erase(current);
  }
  if (timeout_ms == ~u32{0})
    delay_->disarm();
  else
    delay_->arm(std::chrono::milliseconds(timeout_ms));
  if (!watching_) {
    watching_ = true;
    watch_->arm();
  }
}

void UserNetwork::update_socket(int fd, Socket& socket) {
  const u32 events = epoll_of(socket.wanted);
  if (events == socket.registered) return;
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  const int operation = socket.registered == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
  int result = ::epoll_ctl(epoll_.get(), operation, fd, &event);
  // A descriptor that libslirp closed and got again is out of the set without our doing.
  if (result != 0 && operation == EPOLL_CTL_MOD && errno == ENOENT)
    result = ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  socket.registered = result == 0 ? events : 0;
}

void UserNetwork::forget(int fd) {
  const auto socket = sockets_.find(fd);
  if (socket == sockets_.end()) return;
  if (socket->second.registered != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  sockets_.erase(socket);
}

}  // namespace vellum::net
