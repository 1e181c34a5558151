// The work that a frame's sender left undone, done here because its receiver does not understand it.
#pragma once

#include <functional>

#include "io/net/frame.hpp"

namespace vellum::net {

/// Completes the checksum that `offload` describes, in place. `offload` fits the frame and has no gso.
void finish_checksum(std::span<u8> frame, const FrameOffload& offload);

/// Cuts a frame of TCP with gso into its segments, each complete, and hands each to `emit` (valid for the
/// call). `offload` fits the frame. False, and nothing emitted, if the headers are not what `offload` says.
bool segment(std::span<const u8> frame, const FrameOffload& offload,
             const std::function<void(std::span<const u8>)>& emit);

}  // namespace vellum::net
