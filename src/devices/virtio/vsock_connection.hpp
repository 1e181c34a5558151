// One stream of virtio-vsock: its socket on the host's side, what both sides may still send, and which
// packets are due to the guest. Memory is bounded: what the guest sends beyond what the socket takes waits
// here, up to the buffer that the guest has been told of; what the host sends waits in its socket.
//
// Threads: the event loop's.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "devices/virtio/vsock_packet.hpp"

namespace vellum::virtio {

class VsockConnection {
 public:
  /// What the guest may have on its way to the socket (§5.10.6.3).
  static constexpr u32 kBuffer = 128 << 10;

  /// `called`: by the guest, which is to be answered; else the guest is called, and has to.
  VsockConnection(FileDescriptor socket, u64 key, u32 guest_port, u32 host_port, bool called)
      : socket_(std::move(socket)), key_(key), guest_port_(guest_port), host_port_(host_port), open_(called) {
    due_ = called ? kAnswer : kCall;
  }

  int socket() const { return socket_.get(); }
  u64 key() const { return key_; }  ///< of a SocketPoll's
  u32 guest_port() const { return guest_port_; }
  u32 host_port() const { return host_port_; }
  /// Whether it stands in the device's line for the guest's buffers; what was so before.
  bool set_in_line(bool now) { return std::exchange(in_line_, now); }

  // From the guest. GUEST-CONTROLLED: all of it. False: against the rules, or the host's side is broken; the
  // connection is to be reset.
  void take_credit(const VsockHeader& header);
  bool answered();
  /// `data`: as many bytes as the packet has.
  bool take_data(std::span<const u8> data);
  bool take_shutdown(u32 flags);
  void ask_credit() { due_ |= kCredit; }
  /// The guest neither sends nor receives any more.
  bool finished() const { return !guest_sends_ && !guest_receives_; }

  // From the host.
  void ready(bool readable, bool writable, bool hung_up) {
    readable_ |= readable;
    if (writable) flush();
    // Else it is found when everything has been read.
    if (hung_up && (!host_sends_ || !guest_receives_)) host_stops_receiving();
  }
  bool is_open() const { return open_; }
  /// Whether bytes of the guest's are still to be written.
  bool has_backlog() const { return !backlog_.empty(); }

  /// The next packet for the guest, with up to `room.size()` bytes of a stream in `room`. Nothing: none is
  /// due.
  std::optional<VsockHeader> next(std::span<u8> room);
  /// The socket has failed: after the last next() the connection is to be reset.
  bool broken() const { return broken_; }

 private:
  enum Due : u8 { kCall = 1, kAnswer = 2, kShutdown = 4, kCredit = 8, kAsk = 16 };
  VsockHeader header(VsockOp op);
  bool take_due(Due due) {
    const bool was = (due_ & due) != 0;
    due_ = static_cast<u8>(due_ & ~due);
    return was;
  }
  std::optional<VsockHeader> next_data(std::span<u8> room);
  void flush();
  void host_stops_receiving();

  FileDescriptor socket_;
  u64 key_;
  u32 guest_port_, host_port_;
  bool in_line_ = false;
  bool open_;
  bool broken_ = false;
  u8 due_ = 0;
  bool guest_sends_ = true, guest_receives_ = true;
  bool host_sends_ = true, host_receives_ = true;
  bool readable_ = true;  ///< until EAGAIN
  bool asked_ = false;    ///< for credit, since there was any
  // Counts of bytes, modulo 2^32.
  u32 sent_ = 0, guest_buffer_ = 0, guest_forwarded_ = 0;  ///< to the guest
  u32 received_ = 0, forwarded_ = 0, told_forwarded_ = 0;  ///< from the guest
  std::vector<u8> backlog_;                                ///< from the guest, not written yet
};

}  // namespace vellum::virtio
