#include "io/net/switch_network.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.hpp"

namespace vellum::net {
namespace {

constexpr auto kRetry = std::chrono::milliseconds(100);

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);  // NetConfig's parser checked the length
  return address;
}

FileDescriptor new_socket() {
  return FileDescriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// SAFETY: the socket functions take any address as a sockaddr.
const sockaddr* as_sockaddr(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

}  // namespace

class SwitchNetwork::OwnPort final : public FrameSink {
 public:
  explicit OwnPort(SwitchNetwork& network) : network_(network) {}
  Offloads understands() const override { return network_.own_offloads(); }

 protected:
  void take(const Frame& frame) override { network_.to_guest_.put(frame); }

 private:
  SwitchNetwork& network_;
};

SwitchNetwork::SwitchNetwork(EventLoop& loop, std::string path) : loop_(loop), path_(std::move(path)) {
  retry_ = loop_.delay([this] { meet_again(); });
  accept_later_ = loop_.delay([this] { accept_->arm(); });
}

Result<std::unique_ptr<Network>> SwitchNetwork::create(EventLoop& loop, const NetConfig& config) {
  std::unique_ptr<SwitchNetwork> network(new SwitchNetwork(loop, config.path));
  VELLUM_TRY(network->meet());
  return network;
}

SwitchNetwork::~SwitchNetwork() {
  if (serving()) (void)::unlink(path_.c_str());  // the lock is still ours
}

Result<> SwitchNetwork::meet() {
  VELLUM_TRY_ASSIGN(serves, try_serving());
  if (serves) return {};
  VELLUM_TRY_ASSIGN(connected, try_connecting());
  // Whoever has the lock is about to listen, or just left.
  if (!connected) retry_->arm(kRetry);
  return {};
}

void SwitchNetwork::meet_again() {
  if (const Result<> met = meet(); !met) {
    spdlog::warn("{}; the guest's card is cut off, trying on", met.error().message);
    retry_->arm(10 * kRetry);
  }
}

Result<> SwitchNetwork::clear_path() const {
  struct stat status {};
  if (::lstat(path_.c_str(), &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode))
    return fail(ErrorCode::kInvalidArgument,
                "--net switch: '{}' exists and is not a socket; take another path=", path_);
  // A server that was killed leaves its socket behind. Any other is of a program that knows no locks.
  const FileDescriptor probe = new_socket();
  if (!probe) return fail_errno("--net switch: cannot create a socket", errno);
  const sockaddr_un address = address_of(path_);
  if (::connect(probe.get(), as_sockaddr(address), sizeof address) == 0 || errno != ECONNREFUSED)
    return fail(ErrorCode::kInvalidArgument,
                "--net switch: '{}' is in use by another program; take another path=", path_);
  (void)::unlink(path_.c_str());
  return {};
}

Result<bool> SwitchNetwork::try_serving() {
  VELLUM_TRY_ASSIGN(lock, FileDescriptor::open(path_ + ".lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return false;
  VELLUM_TRY(clear_path());
  FileDescriptor listener = new_socket();
  const sockaddr_un address = address_of(path_);
  if (!listener || ::fchmod(listener.get(), 0600) != 0 ||
      ::bind(listener.get(), as_sockaddr(address), sizeof address) != 0 || ::listen(listener.get(), 16) != 0)
    return fail_errno(fmt::format("--net switch: cannot listen at '{}'", path_), errno);
  VELLUM_TRY_ASSIGN_TO(accept_,
                       loop_.watch(listener.get(), EventLoop::Direction::kRead, [this] { on_connection(); }));
  accept_->arm();
  lock_ = std::move(lock);
  listener_ = std::move(listener);
  own_port_ = std::make_unique<OwnPort>(*this);
  own_number_ = hub_.add(*own_port_);
  return true;
}

Result<bool> SwitchNetwork::try_connecting() {
  FileDescriptor socket = new_socket();
  const sockaddr_un address = address_of(path_);
  if (!socket) return fail_errno("--net switch: cannot create a socket", errno);
  if (::connect(socket.get(), as_sockaddr(address), sizeof address) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN) return false;
    return fail_errno(fmt::format("--net switch: cannot connect to '{}'", path_), errno);
  }
  FrameSocket::Events events;
  events.frame = [this](const Frame& frame) { to_guest_.put(frame); };
  events.want_more = [this] { return !to_guest_.blocked(); };
  events.closed = [this] {
    uplink_.reset();
    retry_->arm(kRetry);  // not at once: a full switch hangs up at once, too
  };
  VELLUM_TRY_ASSIGN_TO(uplink_,
                       FrameSocket::create(loop_, std::move(socket), traffic_.dropped, std::move(events)));
  uplink_->announce(own_offloads());
  return true;
}

void SwitchNetwork::on_connection() {
  for (;;) {
    FileDescriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      // Out of descriptors or memory: the connection still waits, and would wake us at once.
      if (errno != EAGAIN) return accept_later_->arm(kRetry);
      return accept_->arm();
    }
    if (peers_.size() < kMaxPeers) add_peer(std::move(socket));  // else it hears that we hung up
  }
}

void SwitchNetwork::add_peer(FileDescriptor socket) {
  auto number = std::make_shared<unsigned>(0);  // known once the socket exists
  FrameSocket::Events events;
  events.frame = [this, number](const Frame& frame) { hub_.forward(*number, frame); };
  events.want_more = [] { return true; };
  events.closed = [this, number] {
    const unsigned port = *number;
    hub_.remove(port);
    peers_.erase(port);
  };
  auto made = FrameSocket::create(loop_, std::move(socket), traffic_.dropped, std::move(events));
  if (!made) {
    spdlog::warn("--net switch: {}", made.error().message);
    return;
  }
  *number = hub_.add(**made);
  (*made)->announce(
      kAllOffloads);  // the hub passes on anything; ports finish what their ends don't understand
  peers_.emplace(*number, std::move(*made));
}

Offloads SwitchNetwork::own_offloads() const {
  return to_guest_.receiver() != nullptr ? to_guest_.receiver()->understands() : Offloads::kNone;
}

void SwitchNetwork::connect(FrameReceiver* receiver) {
  to_guest_.connect(receiver);
  receiver_ready();
}

void SwitchNetwork::receiver_ready() {
  to_guest_.flush();
  if (uplink_ == nullptr) return;
  uplink_->announce(own_offloads());
  uplink_->resume();
}

void SwitchNetwork::take(const Frame& frame) {
  const std::size_t size = frame_size(frame.pieces);
  if (!serving()) {
    if (uplink_ == nullptr) {
      traffic_.dropped.add();
      return;
    }
    traffic_.sent(size);
    uplink_->put(frame);
    return;
  }
  // The hub decides by addresses that must not change: the pieces may be guest RAM.
  if (copy_.size() < size) copy_.resize(kMaxFrame);
  const std::span<u8> bytes = gather(frame.pieces, copy_);
  traffic_.sent(size);
  const iovec piece{bytes.data(), bytes.size()};
  hub_.forward(own_number_, {frame.offload, {&piece, 1}});
}

void SwitchNetwork::stats(std::vector<StatRow>& rows) const {
  traffic_.stats("net switch", rows);
}

}  // namespace vellum::net
