#include "devices/legacy/i8042.hpp"

#include "devices/legacy/scan_codes.hpp"

namespace vellum {
namespace {

namespace status {
constexpr u8 kOutputFull = 0x01, kSystem = 0x04, kCommand = 0x08;
}
namespace command_byte {
constexpr u8 kKeyboardInterrupt = 0x01, kSystem = 0x04, kKeyboardDisabled = 0x10, kAuxDisabled = 0x20,
             kTranslate = 0x40;
}
namespace output_port {
constexpr u8 kNotReset = 0x01, kA20 = 0x02, kKeyboardInterrupt = 0x10;
}

enum Command : u8 {
  kReadRam = 0x20,   // to 0x3f
  kWriteRam = 0x60,  // to 0x7f
  kDisableAux = 0xa7,
  kEnableAux = 0xa8,
  kTestAux = 0xa9,
  kSelfTest = 0xaa,
  kTestKeyboard = 0xab,
  kDisableKeyboard = 0xad,
  kEnableKeyboard = 0xae,
  kReadInputPort = 0xc0,
  kReadOutputPort = 0xd0,
  kWriteOutputPort = 0xd1,
  kWriteKeyboardBuffer = 0xd2,
  kWriteAuxBuffer = 0xd3,
  kWriteAux = 0xd4,
  kDisableA20 = 0xdd,
  kEnableA20 = 0xdf,
  kReadTestInputs = 0xe0,
  kPulseFirst = 0xf0,  // to 0xff: pulses output port bits that are 0
};

constexpr u8 kSelfTestPassed = 0x55;
/// "Clock line stuck high": what a controller says of an auxiliary port that nothing is plugged into. Drivers
/// take it for the absence of the port.
constexpr u8 kAuxClockStuckHigh = 0x02;

}  // namespace

I8042::I8042(InterruptLine& irq1, MachineControl& control, const State& state)
    : irq1_(irq1), control_(control), state_(state) {
  std::scoped_lock lock(mutex_);
  state_.keyboard.sanitise();
  fill_output();
}

void I8042::type(std::span<const u8> scan_codes) {
  std::scoped_lock lock(mutex_);
  for (const u8 code : scan_codes) state_.keyboard.type(code);
  fill_output();
}

// Set 2 as the keyboard sends it to set 1, while the command byte asks for it: 0xf0 becomes bit 7 of the next
// code.
u8 I8042::translate(u8 code, bool& swallow) {
  swallow = false;
  if ((state_.command_byte & command_byte::kTranslate) == 0) return code;
  if (code == 0xf0) {
    state_.translating_break = true;
    swallow = true;
    return 0;
  }
  const bool released = std::exchange(state_.translating_break, false);
  return static_cast<u8>(set1_of_set2(code) | (released ? 0x80 : 0));
}

void I8042::fill_output() {
  while (!state_.output_full) {
    if (!state_.responses.empty()) {
      state_.output = state_.responses.front();
      state_.responses.erase(state_.responses.begin());
      state_.output_full = true;
      break;
    }
    if ((state_.command_byte & command_byte::kKeyboardDisabled) != 0) break;
    const auto code = state_.keyboard.next();
    if (!code) break;
    bool swallow = false;
    state_.output = translate(*code, swallow);
    state_.output_full = !swallow;
  }
  irq1_.set(state_.output_full && (state_.command_byte & command_byte::kKeyboardInterrupt) != 0);
}

void I8042::respond(u8 value) {
  // A guest that sends commands and never reads gets the last answers only, and no memory of ours.
  if (state_.responses.size() >= 16) state_.responses.clear();
  state_.responses.push_back(value);
}

bool I8042::write_command(u8 value) {
  state_.pending_command = 0;
  state_.status |= status::kCommand;
  if (value >= kPulseFirst) return (value & output_port::kNotReset) == 0;
  if (value >= kReadRam && value < kReadRam + 32) {
    respond(value == kReadRam ? state_.command_byte : state_.ram[value - kReadRam]);
    return false;
  }
  if (value >= kWriteRam && value < kWriteRam + 32) {
    state_.pending_command = value;
    return false;
  }
  switch (value) {
    case kDisableAux:
      state_.command_byte |= command_byte::kAuxDisabled;
      break;
    case kEnableAux:
      state_.command_byte &= static_cast<u8>(~command_byte::kAuxDisabled);
      break;
    case kTestAux:
      respond(kAuxClockStuckHigh);
      break;
    case kSelfTest:
      state_.status |= status::kSystem;
      state_.command_byte |= command_byte::kSystem;
      respond(kSelfTestPassed);
      break;
    case kTestKeyboard:
      respond(0);
      break;
    case kDisableKeyboard:
      state_.command_byte |= command_byte::kKeyboardDisabled;
      break;
    case kEnableKeyboard:
      state_.command_byte &= static_cast<u8>(~command_byte::kKeyboardDisabled);
      break;
    case kReadInputPort:
      respond(0x80);  // keyboard not locked
      break;
    case kReadOutputPort:
      respond(
          static_cast<u8>(state_.output_port | (state_.output_full ? output_port::kKeyboardInterrupt : 0)));
      break;
    case kDisableA20:
      state_.output_port &= static_cast<u8>(~output_port::kA20);
      break;
    case kEnableA20:
      state_.output_port |= output_port::kA20;
      break;
    case kReadTestInputs:
      respond(0);
      break;
    case kWriteOutputPort:
    case kWriteKeyboardBuffer:
    case kWriteAuxBuffer:
    case kWriteAux:
      state_.pending_command = value;
      break;
    default:
      break;
  }
  return false;
}

bool I8042::write_data(u8 value) {
  state_.status &= static_cast<u8>(~status::kCommand);
  const u8 command = std::exchange(state_.pending_command, u8{0});
  if (command == kWriteRam) {
    state_.command_byte = value;
    state_.status = static_cast<u8>((state_.status & ~status::kSystem) | (value & command_byte::kSystem));
    return false;
  }
  if (command > kWriteRam && command < kWriteRam + 32) {
    state_.ram[command - kWriteRam] = value;
    return false;
  }
  switch (command) {
    case kWriteOutputPort:
      state_.output_port = value | output_port::kNotReset;
      return (value & output_port::kNotReset) == 0;
    case kWriteKeyboardBuffer:
    case kWriteAuxBuffer:  // without an auxiliary port the byte comes back as the keyboard's
      respond(value);
      return false;
    case kWriteAux:
      return false;  // nobody there
    default:
      // To the keyboard; that also switches its clock on.
      state_.command_byte &= static_cast<u8>(~command_byte::kKeyboardDisabled);
      state_.keyboard.receive(value);
      return false;
  }
}

u8 I8042::read_byte(u64 offset) {
  std::scoped_lock lock(mutex_);
  if (offset == 1) return static_cast<u8>(state_.status | (state_.output_full ? status::kOutputFull : 0));
  if (offset != 0) return 0xff;
  const u8 value = state_.output;
  if (state_.output_full) {
    state_.output_full = false;
    irq1_.set(false);
    fill_output();
  }
  return value;
}

void I8042::write_byte(u64 offset, u8 value) {
  bool reset = false;
  {
    std::scoped_lock lock(mutex_);
    if (offset == 1) {
      reset = write_command(value);
    } else if (offset == 0) {
      reset = write_data(value);
    }
    fill_output();
  }
  if (reset) control_.reset();
}

SavedState I8042::save() const {
  std::scoped_lock lock(mutex_);
  return encode_state(state_);
}

}  // namespace vellum
