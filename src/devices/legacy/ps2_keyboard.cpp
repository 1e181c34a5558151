#include "devices/legacy/ps2_keyboard.hpp"

namespace vellum {
namespace {

constexpr u8 kAck = 0xfa, kResend = 0xfe, kSelfTestPassed = 0xaa, kEchoAnswer = 0xee;

enum Command : u8 {
  kSetLeds = 0xed,
  kEcho = 0xee,
  kScanCodeSet = 0xf0,
  kIdentify = 0xf2,
  kTypematic = 0xf3,
  kEnable = 0xf4,
  kDisableAndDefaults = 0xf5,
  kDefaults = 0xf6,
  kSetAllFirst = 0xf7,  // 0xf7 to 0xfd: key types of scan code set 3
  kSetKeyFirst = 0xfb,
  kSetAllLast = 0xfd,
  kResendLast = 0xfe,
  kReset = 0xff,
};

}  // namespace

bool Ps2Keyboard::put(u8 byte) {
  if (count == kBufferSize) return false;
  buffer[(head + count++) % kBufferSize] = byte;
  return true;
}

std::optional<u8> Ps2Keyboard::next() {
  if (count == 0) return std::nullopt;
  last_sent = buffer[head];
  head = static_cast<u8>((head + 1) % kBufferSize);
  --count;
  return last_sent;
}

bool Ps2Keyboard::type(u8 scan_code) {
  constexpr std::size_t kRoomForAnswers = 6;
  return scanning && count + kRoomForAnswers < kBufferSize && put(scan_code);
}

void Ps2Keyboard::set_defaults() {
  leds = 0;
  typematic = 0x2b;
  scan_code_set = 2;
}

bool Ps2Keyboard::receive_parameter(u8 byte) {
  const u8 command = pending_command;
  pending_command = 0;
  // A byte that is a command takes the place of the parameter (and the first command is forgotten).
  if (command == 0 || byte >= kSetLeds) return false;
  put(kAck);
  switch (command) {
    case kSetLeds:
      leds = byte & 7;
      break;
    case kTypematic:
      typematic = byte & 0x7f;
      break;
    case kScanCodeSet:
      if (byte == 0) {
        put(scan_code_set);
      } else if (byte <= 3) {
        scan_code_set = byte;
      }
      break;
    default:
      break;  // a key's type in set 3
  }
  return true;
}

void Ps2Keyboard::receive(u8 byte) {
  if (receive_parameter(byte)) return;
  // These begin afresh: key strokes not yet sent are forgotten.
  if ((byte >= kEnable && byte <= kDefaults) || byte == kReset) count = 0;
  switch (byte) {
    case kEcho:
      put(kEchoAnswer);
      return;
    case kSetLeds:
    case kScanCodeSet:
    case kTypematic:
      pending_command = byte;
      put(kAck);
      return;
    case kIdentify:
      put(kAck);
      put(0xab);
      put(0x83);
      return;
    case kEnable:
      scanning = true;
      put(kAck);
      return;
    case kDisableAndDefaults:
      scanning = false;
      set_defaults();
      put(kAck);
      return;
    case kDefaults:
      set_defaults();
      put(kAck);
      return;
    case kResendLast:
      put(last_sent);
      return;
    case kReset:
      set_defaults();
      scanning = true;
      put(kAck);
      put(kSelfTestPassed);
      return;
    default:
      if (byte >= kSetKeyFirst && byte <= kSetAllLast) pending_command = byte;
      put(byte >= kSetAllFirst && byte <= kSetAllLast ? kAck : kResend);
      return;
  }
}

}  // namespace vellum
