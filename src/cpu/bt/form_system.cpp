// Which privileged and sensitive instructions have a short way in translated code (emit_system.cpp).
#include "cpu/bt/form.hpp"

namespace vellum::bt {

std::optional<Form> system_form(const x86::Decoded& d, bool last) {
  switch (d.info.mnemonic) {
    case ZYDIS_MNEMONIC_STI:
      // Its shadow is one instruction of the same unit: no interrupt is taken before the unit's end.
      return Form{.scheme = last ? Scheme::kCallOut : Scheme::kSystem};
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_SWAPGS:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
      return Form{.scheme = Scheme::kSystem};
    case ZYDIS_MNEMONIC_CLD:
    case ZYDIS_MNEMONIC_STD:
      return Form{.scheme = Scheme::kSystem};
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_SFENCE:
    case ZYDIS_MNEMONIC_MFENCE:
      return Form{.scheme = Scheme::kSystem, .observable = false};
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
      return Form{.scheme = Scheme::kNothing, .observable = false};
    case ZYDIS_MNEMONIC_MOV: {
      if (d.operands[1].type != ZYDIS_OPERAND_TYPE_REGISTER) return std::nullopt;
      switch (d.operands[1].reg.value) {
        case ZYDIS_REGISTER_CR0:
        case ZYDIS_REGISTER_CR2:
        case ZYDIS_REGISTER_CR3:
        case ZYDIS_REGISTER_CR4:
          return Form{.scheme = Scheme::kSystem};
        default:
          break;
      }
      // A selector is readable at any privilege. To memory it is rare.
      if (ZydisRegisterGetClass(d.operands[1].reg.value) != ZYDIS_REGCLASS_SEGMENT ||
          d.operands[0].type != ZYDIS_OPERAND_TYPE_REGISTER)
        return std::nullopt;
      return Form{.scheme = Scheme::kSystem, .observable = false};
    }
    case ZYDIS_MNEMONIC_SYSCALL:
      return Form{.scheme = Scheme::kSystemCall};
    case ZYDIS_MNEMONIC_SYSRET:
      return Form{.scheme = d.info.operand_width == 64 ? Scheme::kSystemCall : Scheme::kCallOut};
    case ZYDIS_MNEMONIC_STAC:
    case ZYDIS_MNEMONIC_CLAC:
    case ZYDIS_MNEMONIC_RDMSR:
    case ZYDIS_MNEMONIC_WRMSR:
    case ZYDIS_MNEMONIC_RDFSBASE:
    case ZYDIS_MNEMONIC_RDGSBASE:
    case ZYDIS_MNEMONIC_WRFSBASE:
    case ZYDIS_MNEMONIC_WRGSBASE:
      return Form{.scheme = Scheme::kPrivilege};
    case ZYDIS_MNEMONIC_POPFQ:
      return Form{.scheme = Scheme::kPopFlags};
    case ZYDIS_MNEMONIC_PUSHFQ:
      return Form{.scheme = Scheme::kPushFlags, .memory_written = true};
    default:
      return std::nullopt;
  }
}

}  // namespace vellum::bt
