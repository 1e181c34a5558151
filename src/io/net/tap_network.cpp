#include "io/net/tap_network.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.hpp"

namespace vellum::net {
namespace {

constexpr const char* kPath = "/dev/net/tun";
/// Frames read before others get their turn on the loop.
constexpr int kBatch = 64;

Result<FileDescriptor> open_tap(const NetConfig& config, ifreq& request) {
  const std::string asked = config.ifname.empty() ? "a new interface" : fmt::format("'{}'", config.ifname);
  FileDescriptor tap(::open(kPath, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tap) {
    const char* advice = errno == EACCES || errno == EPERM
                             ? "run as a user who may open it, or use --net user"
                             : "load the module 'tun', or use --net user";
    return fail(ErrorCode::kHost, "--net tap: cannot open {}: {}; {}", kPath, std::strerror(errno), advice);
  }
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  config.ifname.copy(request.ifr_name, IFNAMSIZ - 1);
  if (::ioctl(tap.get(), TUNSETIFF, &request) == 0) return tap;
  if (errno == EPERM)
    return fail(
        ErrorCode::kHost,
        "--net tap: no permission for {}; as root: 'ip tuntap add dev {} mode tap user {}', then name it "
        "with ifname=",
        asked, config.ifname.empty() ? "tap0" : config.ifname, ::getuid());
  if (errno == EBUSY)
    return fail(ErrorCode::kHost, "--net tap: {} is in use by another program; take another ifname=", asked);
  if (errno == EINVAL)
    return fail(ErrorCode::kHost,
                "--net tap: {} is not a tap interface of one queue; 'ip tuntap' lists those", asked);
  return fail_errno(fmt::format("--net tap: cannot attach to {}", asked), errno);
}

}  // namespace

Result<std::unique_ptr<Network>> TapNetwork::create(EventLoop& loop, const NetConfig& config) {
  ifreq request{};
  VELLUM_TRY_ASSIGN(tap, open_tap(config, request));
  int header_size = sizeof(VnetHeader);
  if (::ioctl(tap.get(), TUNSETVNETHDRSZ, &header_size) != 0)
    return fail_errno("--net tap: cannot set the frames' header", errno);
  // Without an address or an administrator nobody else brings it up; where we may not, somebody has.
  const FileDescriptor control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq flags = request;
  if (control && ::ioctl(control.get(), SIOCGIFFLAGS, &flags) == 0 && (flags.ifr_flags & IFF_UP) == 0) {
    flags.ifr_flags |= IFF_UP;
    (void)::ioctl(control.get(), SIOCSIFFLAGS, &flags);
  }
  std::unique_ptr<TapNetwork> network(new TapNetwork(std::move(tap), request.ifr_name));
  TapNetwork* const raw = network.get();
  auto watch = loop.watch(raw->tap_.get(), EventLoop::Direction::kRead, [raw] { raw->on_readable(); });
  if (!watch) return tl::unexpected(std::move(watch).error().context("--net tap"));
  raw->watch_ = std::move(*watch);
  raw->tell_offloads();
  return network;
}

void TapNetwork::connect(FrameReceiver* receiver) {
  receiver_ = receiver;
  receiver_ready();
}

void TapNetwork::receiver_ready() {
  tell_offloads();
  wait();
}

// While the receiver has no room, frames wait in the interface's queue, which is what makes senders slow
// down.
void TapNetwork::wait() {
  if (waiting_ || gone_ || receiver_ == nullptr || !receiver_->has_room()) return;
  waiting_ = true;
  watch_->arm();
}

void TapNetwork::on_readable() {
  waiting_ = false;
  read_frames();
  wait();
}

void TapNetwork::read_frames() {
  for (int count = 0; count < kBatch && receiver_ != nullptr && receiver_->has_room(); ++count) {
    const ssize_t got = ::read(tap_.get(), buffer_.data(), buffer_.size());
    if (got < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      // Deleted; its descriptor would be ready for ever.
      gone_ = true;
      spdlog::warn("--net tap: '{}' is gone: {}; the guest's card is cut off", ifname_, std::strerror(errno));
      return;
    }
    if (got < static_cast<ssize_t>(sizeof(VnetHeader))) {
      traffic_.dropped.add();
      continue;
    }
    VnetHeader header;
    std::memcpy(&header, buffer_.data(), sizeof header);
    const std::span<const u8> bytes(buffer_.data() + sizeof header,
                                    static_cast<std::size_t>(got) - sizeof header);
    FrameOffload offload;
    if (!from_vnet_header(header, bytes.size(), offload)) {
      traffic_.dropped.add();
      continue;
    }
    traffic_.received(bytes.size());
    put_bytes(*receiver_, bytes, offload);
  }
}

void TapNetwork::tell_offloads() {
  const Offloads offloads = receiver_ != nullptr ? receiver_->understands() : Offloads::kNone;
  if (offloads == told_) return;
  told_ = offloads;
  unsigned flags = 0;
  if (any(offloads & Offloads::kChecksum)) {
    flags |= TUN_F_CSUM;
    if (any(offloads & Offloads::kTso4)) flags |= TUN_F_TSO4;
    if (any(offloads & Offloads::kTso6)) flags |= TUN_F_TSO6;
    if (any(offloads & Offloads::kEcn)) flags |= TUN_F_TSO_ECN;
  }
  // An interface that refuses goes on finishing frames itself; ours are finished by put() where need be.
  (void)::ioctl(tap_.get(), TUNSETOFFLOAD, flags);
}

void TapNetwork::take(const Frame& frame) {
  VnetHeader header = to_vnet_header(frame.offload);
  pieces_.clear();
  pieces_.push_back({&header, sizeof header});
  pieces_.insert(pieces_.end(), frame.pieces.begin(), frame.pieces.end());
  // One write is one frame. A full queue drops it, as any interface does.
  if (::writev(tap_.get(), pieces_.data(), static_cast<int>(pieces_.size())) < 0)
    traffic_.dropped.add();
  else
    traffic_.sent(frame_size(frame.pieces));
}

}  // namespace vellum::net
