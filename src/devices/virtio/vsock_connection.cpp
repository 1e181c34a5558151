#include "devices/virtio/vsock_connection.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace vellum::virtio {

void VsockConnection::take_credit(const VsockHeader& header) {
  guest_buffer_ = header.buffer;
  guest_forwarded_ = header.forwarded;
}

// A guest that we called is there.
bool VsockConnection::answered() {
  if (open_) return false;
  open_ = true;
  const std::string greeting = fmt::format("OK {}\n", host_port_);
  // The first bytes on this socket: there is room for them.
  return ::send(socket(), greeting.data(), greeting.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(greeting.size());
}

bool VsockConnection::take_data(std::span<const u8> data) {
  if (!open_ || !guest_sends_ || data.size() > kBuffer - (received_ - forwarded_)) return false;
  received_ += static_cast<u32>(data.size());
  if (!host_receives_) {  // it was told so, or will be: what was on its way is lost
    forwarded_ = received_;
    return true;
  }
  std::size_t written = 0;
  if (backlog_.empty() && !data.empty()) {
    const ssize_t done = ::send(socket(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (done < 0 && errno != EAGAIN && errno != EINTR) {
      host_stops_receiving();
      return true;
    }
    written = static_cast<std::size_t>(std::max<ssize_t>(done, 0));
    forwarded_ += static_cast<u32>(written);
  }
  backlog_.insert(backlog_.end(), data.begin() + static_cast<std::ptrdiff_t>(written), data.end());
  return true;
}

void VsockConnection::flush() {
  if (backlog_.empty()) return;
  const ssize_t done = ::send(socket(), backlog_.data(), backlog_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (done < 0) {
    if (errno != EAGAIN && errno != EINTR) host_stops_receiving();
    return;
  }
  forwarded_ += static_cast<u32>(done);
  backlog_.erase(backlog_.begin(), backlog_.begin() + done);
  if (!backlog_.empty()) return;
  backlog_.shrink_to_fit();
  if (!guest_sends_) (void)::shutdown(socket(), SHUT_WR);
}

// Nobody reads what the guest sends; what the host has sent itself may still be read.
void VsockConnection::host_stops_receiving() {
  backlog_.clear();
  backlog_.shrink_to_fit();
  forwarded_ = received_;
  if (host_receives_) due_ |= kShutdown;
  host_receives_ = false;
}

bool VsockConnection::take_shutdown(u32 flags) {
  if (!open_) return false;
  if ((flags & kWillNotReceive) != 0 && guest_receives_) {
    guest_receives_ = false;
    (void)::shutdown(socket(), SHUT_RD);
  }
  if ((flags & kWillNotSend) != 0 && guest_sends_) {
    guest_sends_ = false;
    if (backlog_.empty()) (void)::shutdown(socket(), SHUT_WR);
  }
  return true;
}

VsockHeader VsockConnection::header(VsockOp op) {
  VsockHeader header;
  header.source_port = host_port_;
  header.target_port = guest_port_;
  header.op = static_cast<u16>(op);
  header.buffer = kBuffer;
  header.forwarded = told_forwarded_ = forwarded_;
  due_ = static_cast<u8>(due_ & ~kCredit);
  return header;
}

std::optional<VsockHeader> VsockConnection::next(std::span<u8> room) {
  if (take_due(kCall)) return header(VsockOp::kRequest);
  if (!open_) return std::nullopt;
  if (take_due(kAnswer)) return header(VsockOp::kResponse);
  if (forwarded_ - told_forwarded_ >= kBuffer / 2) due_ |= kCredit;
  if (guest_receives_ && host_sends_ && readable_)
    if (auto packet = next_data(room)) return packet;
  if (broken_) return std::nullopt;
  if (take_due(kShutdown)) {
    VsockHeader packet = header(VsockOp::kShutdown);
    packet.flags = (host_receives_ ? 0 : kWillNotReceive) | (host_sends_ ? 0 : kWillNotSend);
    return packet;
  }
  if (take_due(kCredit)) return header(VsockOp::kCreditUpdate);
  if (take_due(kAsk)) return header(VsockOp::kCreditRequest);
  return std::nullopt;
}

std::optional<VsockHeader> VsockConnection::next_data(std::span<u8> room) {
  // GUEST-CONTROLLED: the guest's counts. More on its way than we have sent is no credit at all.
  const u32 on_its_way = sent_ - guest_forwarded_;
  const u32 credit = on_its_way < guest_buffer_ ? guest_buffer_ - on_its_way : 0;
  if (credit == 0) {
    if (!std::exchange(asked_, true)) due_ |= kAsk;
    return std::nullopt;
  }
  asked_ = false;
  const ssize_t got = ::recv(socket(), room.data(), std::min<std::size_t>(room.size(), credit), MSG_DONTWAIT);
  if (got > 0) {
    VsockHeader packet = header(VsockOp::kData);
    packet.length = static_cast<u32>(got);
    sent_ += packet.length;
    return packet;
  }
  if (got < 0 && errno == EINTR) return next_data(room);
  if (got < 0 && errno == EAGAIN) {
    readable_ = false;
    return std::nullopt;
  }
  if (got < 0) {
    broken_ = true;
    return std::nullopt;
  }
  // The host has sent its last. Whether it has also gone is seen from the hang-up.
  host_sends_ = false;
  pollfd state{socket(), 0, 0};
  const bool gone = ::poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLERR)) != 0;
  if (gone) host_stops_receiving();
  due_ |= kShutdown;
  return std::nullopt;
}

}  // namespace vellum::virtio
