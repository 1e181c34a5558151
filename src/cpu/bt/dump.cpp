#include "cpu/bt/dump.hpp"

#include <fmt/format.h>

#include "cpu/state.hpp"

namespace vellum::bt {
namespace {

struct Field {
  std::size_t offset, size;
  const char* name;
};

#define VELLUM_FIELD(type, member) \
  { offsetof(type, member), sizeof(type::member), #member }
constexpr Field kContextFields[] = {
    VELLUM_FIELD(Context, left),           VELLUM_FIELD(Context, flags),
    VELLUM_FIELD(Context, link),           VELLUM_FIELD(Context, target),
    VELLUM_FIELD(Context, host_tsc_lead),  VELLUM_FIELD(Context, scratch),
    VELLUM_FIELD(Context, entry),          VELLUM_FIELD(Context, poll),
    VELLUM_FIELD(Context, shared),         VELLUM_FIELD(Context, jump_table),
    VELLUM_FIELD(Context, code_serial),    VELLUM_FIELD(Context, vectors),
    VELLUM_FIELD(Context, reload),         VELLUM_FIELD(Context, data_address),
    VELLUM_FIELD(Context, host_mxcsr),     VELLUM_FIELD(Context, host_fcw),
    VELLUM_FIELD(Context, fx_image),       VELLUM_FIELD(Context, leave_jump),
    VELLUM_FIELD(Context, leave_link),     VELLUM_FIELD(Context, call_out),
    VELLUM_FIELD(Context, slow_access),    VELLUM_FIELD(Context, code_store),
    VELLUM_FIELD(Context, leave_closed),   VELLUM_FIELD(Context, load_vectors),
    VELLUM_FIELD(Context, far_serials),    VELLUM_FIELD(Context, jump_mask),
    VELLUM_FIELD(Context, return_unknown), VELLUM_FIELD(Context, flat_slots),
    VELLUM_FIELD(Context, hazards),        VELLUM_FIELD(Context, tlb),
    VELLUM_FIELD(Context, system_call),    VELLUM_FIELD(Context, system_return),
    VELLUM_FIELD(Context, gates),          VELLUM_FIELD(Context, privilege_changed),
};
constexpr Field kStateFields[] = {
    VELLUM_FIELD(VcpuState, gpr),  VELLUM_FIELD(VcpuState, rip),      VELLUM_FIELD(VcpuState, rflags),
    VELLUM_FIELD(VcpuState, seg),  VELLUM_FIELD(VcpuState, ldtr),     VELLUM_FIELD(VcpuState, tr),
    VELLUM_FIELD(VcpuState, gdtr), VELLUM_FIELD(VcpuState, idtr),     VELLUM_FIELD(VcpuState, cr0),
    VELLUM_FIELD(VcpuState, cr2),  VELLUM_FIELD(VcpuState, cr3),      VELLUM_FIELD(VcpuState, cr4),
    VELLUM_FIELD(VcpuState, dr),   VELLUM_FIELD(VcpuState, dr6),      VELLUM_FIELD(VcpuState, dr7),
    VELLUM_FIELD(VcpuState, xcr0), VELLUM_FIELD(VcpuState, xsave),    VELLUM_FIELD(VcpuState, msr),
    VELLUM_FIELD(VcpuState, cpl),  VELLUM_FIELD(VcpuState, activity),
};
#undef VELLUM_FIELD

constexpr const char* kGprNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

std::string name_in(std::span<const Field> fields, i64 offset, std::string_view prefix) {
  for (const Field& f : fields) {
    const i64 within = offset - static_cast<i64>(f.offset);
    if (within < 0 || within >= static_cast<i64>(f.size)) continue;
    return within == 0 ? fmt::format("{}{}", prefix, f.name)
                       : fmt::format("{}{}+{:#x}", prefix, f.name, within);
  }
  return {};
}

// What lies at `offset` from the GS base: a field of the Context, or of the vCPU's state.
std::string gs_name(const UnitDump& unit, i64 offset) {
  if (offset >= 0 && offset < static_cast<i64>(sizeof(Context))) {
    auto name = name_in(kContextFields, offset, "");
    return name.empty() ? fmt::format("context+{:#x}", offset) : name;
  }
  const i64 in_state = offset - unit.state_distance;
  if (in_state < 0 || in_state >= static_cast<i64>(sizeof(VcpuState))) return {};
  const i64 in_gpr = in_state - static_cast<i64>(offsetof(VcpuState, gpr));
  if (in_gpr >= 0 && in_gpr < 128 && in_gpr % 8 == 0) return fmt::format("guest.{}", kGprNames[in_gpr / 8]);
  auto name = name_in(kStateFields, in_state, "guest.");
  return name.empty() ? fmt::format("guest+{:#x}", in_state) : name;
}

// What the formatter's hooks need; they are C.
struct Hooked {
  const UnitDump* unit;
  ZydisFormatterFunc memory;
  ZydisFormatterFunc immediate;
};

ZyanStatus put(ZydisFormatterBuffer* buffer, const std::string& text) {
  ZyanString* string = nullptr;
  ZYAN_CHECK(ZydisFormatterBufferGetString(buffer, &string));
  ZyanStringView view;
  ZYAN_CHECK(ZyanStringViewInsideBufferEx(&view, text.data(), text.size()));
  return ZyanStringAppend(string, &view);
}

ZyanStatus format_memory(const ZydisFormatter* formatter, ZydisFormatterBuffer* buffer,
                         ZydisFormatterContext* context) {
  const auto& hooked = *static_cast<const Hooked*>(context->user_data);
  const auto& m = context->operand->mem;
  if (m.segment != ZYDIS_REGISTER_GS) return hooked.memory(formatter, buffer, context);
  const std::string name = gs_name(*hooked.unit, m.disp.value);
  if (name.empty()) return hooked.memory(formatter, buffer, context);
  std::string text = "[" + name;
  for (const auto r : {m.base, m.index})
    if (r != ZYDIS_REGISTER_NONE) text += fmt::format(" + {}", ZydisRegisterGetString(r));
  if (m.index != ZYDIS_REGISTER_NONE && m.scale > 1) text += fmt::format("*{}", m.scale);
  return put(buffer, text + "]");
}

ZyanStatus format_immediate(const ZydisFormatter* formatter, ZydisFormatterBuffer* buffer,
                            ZydisFormatterContext* context) {
  const auto& hooked = *static_cast<const Hooked*>(context->user_data);
  const UnitDump& unit = *hooked.unit;
  const u64 value = context->operand->imm.value.u;
  if (context->operand->imm.is_relative) {
    u64 target = 0;
    ZYAN_CHECK(
        ZydisCalcAbsoluteAddress(context->instruction, context->operand, context->runtime_address, &target));
    const u64 offset = target - reinterpret_cast<u64>(unit.host.data());
    if (offset < unit.host.size()) return put(buffer, fmt::format("+{:03x}", offset));
    const std::string name = unit.name_of ? unit.name_of(target) : "";
    return name.empty() ? hooked.immediate(formatter, buffer, context) : put(buffer, name);
  }
  const std::string name = unit.name_of && context->operand->size == 64 ? unit.name_of(value) : "";
  return name.empty() ? hooked.immediate(formatter, buffer, context) : put(buffer, "&" + name);
}

// Puts `f` in the place of the function that is returned.
ZydisFormatterFunc hook(ZydisFormatter& formatter, ZydisFormatterFunction which, ZydisFormatterFunc f) {
  auto* callback = reinterpret_cast<const void*>(f);
  ZydisFormatterSetHook(&formatter, which, &callback);
  return reinterpret_cast<ZydisFormatterFunc>(const_cast<void*>(callback));
}

}  // namespace

std::string disassemble(const UnitDump& unit, u32 first, u32 end) {
  ZydisFormatter formatter;
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  Hooked hooked{&unit, hook(formatter, ZYDIS_FORMATTER_FUNC_FORMAT_OPERAND_MEM, &format_memory),
                hook(formatter, ZYDIS_FORMATTER_FUNC_FORMAT_OPERAND_IMM, &format_immediate)};
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);

  std::string out;
  for (u32 at = first; at < end;) {
    const auto rest = unit.host.subspan(at, end - at);
    ZydisDecodedInstruction info;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    char text[256] = "?";
    u32 length = 1;
    if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, rest.data(), rest.size(), &info, operands))) {
      ZydisFormatterFormatInstruction(&formatter, &info, operands, info.operand_count_visible, text,
                                      sizeof text, reinterpret_cast<u64>(rest.data()), &hooked);
      length = info.length;
    }
    out += fmt::format("    +{:03x}  {}\n", at, text);
    at += length;
  }
  return out;
}

std::string dump_unit(const UnitDump& unit) {
  std::size_t guest_bytes = 0;
  for (const x86::Decoded& d : unit.guest) guest_bytes += d.length();
  std::string out = fmt::format("unit {:x} at {:x}: {} instructions, {} bytes; {} bytes at {:x}\n",
                                unit.linear, unit.physical.value, unit.guest.size(), guest_bytes,
                                unit.host.size(), reinterpret_cast<u64>(unit.host.data()));
  const auto piece = [&](u32 first, u32 end) { out += disassemble(unit, first, end); };
  const std::size_t count = unit.guest.size();
  if (unit.starts[0] != 0) {
    out += "  prologue\n";
    piece(0, unit.starts[0]);
  }
  u64 address = unit.linear;
  for (std::size_t n = 0; n < count; ++n) {
    const x86::Decoded& d = unit.guest[n];
    std::string bytes;
    for (unsigned i = 0; i < d.length(); ++i) bytes += fmt::format("{:02x} ", d.bytes[i]);
    out += fmt::format("  {:016x}  {:30} {}\n", address, bytes, x86::format_instruction(d, address));
    piece(unit.starts[n], unit.starts[n + 1]);
    address += d.length();
  }
  if (unit.starts[count] != unit.starts[count + 1]) {
    out += "  end\n";
    piece(unit.starts[count], unit.starts[count + 1]);
  }
  out += "  out of line\n";
  piece(unit.starts[count + 1], static_cast<u32>(unit.host.size()));
  return out;
}

}  // namespace vellum::bt
