// What the card does to a packet that it sends, by the offsets that a context descriptor gives (SDM §3.3.5 to
// §3.5): sums put into headers, and one packet cut into many.
//
// Everything here is the guest's word about bytes of its own choice. Offsets that lead out of the packet do
// nothing.
#pragma once

#include <optional>
#include <span>

#include "io/net/frame.hpp"

namespace vellum::e1000 {

/// A context descriptor's contents.
struct Context {
  u8 ip_start = 0, ip_sum = 0;  ///< where the IP header begins, and where its sum belongs
  u16 ip_end = 0;               ///< its last byte; 0: the packet's
  u8 transport_start = 0, transport_sum = 0;
  u16 transport_end = 0;
  bool tcp = false, ipv4 = false;
  u8 header = 0;  ///< bytes in front of the payload, for segmentation
  u16 mss = 0;    ///< payload of each piece
  template <class V>
  void visit(V& v) {
    v(ip_start), v(ip_sum), v(ip_end), v(transport_start), v(transport_sum), v(transport_end);
    v(tcp), v(ipv4), v(header), v(mss);
  }
};

/// Puts the sum over [start, end] at `at`, where a part of it may stand already. `end`: the last byte, or 0
/// for the packet's.
void insert_sum(std::span<u8> packet, std::size_t start, std::size_t at, std::size_t end);

/// The transport's sum as work for whoever gets the frame; nothing if it is not over the rest of the packet.
std::optional<net::FrameOffload> sum_as_offload(std::size_t size, const Context& context);

/// The whole packet as one frame to be cut by whoever gets it, if that makes the same of it as the card
/// would: plain TCP over IP whose headers are where `context` says. Changes the headers only if so.
std::optional<net::FrameOffload> segmentation_as_offload(std::span<u8> packet, const Context& context,
                                                         u8 options);

/// One piece: sets lengths, flags and sums in its headers. `last`: of its packet.
void finish_segment(std::span<u8> piece, const Context& context, u8 options, bool last);
/// Makes the headers those of the next piece, after one with `payload` bytes.
void advance_headers(std::span<u8> headers, const Context& context, std::size_t payload);

}  // namespace vellum::e1000
