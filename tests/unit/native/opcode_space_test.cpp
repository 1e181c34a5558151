// The whole opcode space that NativeCode serves, each instruction in several random states against the host:
// every legacy (0F, 0F 38, 0F 3A with each mandatory prefix, REX.W or not), VEX and x87 encoding, in register
// form with random registers and in memory form, aligned and not, within a page and across two.
#include <functional>
#include <map>

#include "differential.hpp"

namespace vellum::test {
namespace {

constexpr u8 kDisplacement = 0x20;  // [rbx + 0x20]: as aligned as rbx

// Not here: what has no fixed result, changes more than the compared state, or needs a set-up of its own.
bool excluded(ZydisMnemonic m) {
  switch (m) {
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
    case ZYDIS_MNEMONIC_CLZERO:
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_FWAIT:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
      return true;
    default:
      return false;
  }
}

bool excluded_set(ZydisISASet set) {
  switch (set) {
    case ZYDIS_ISA_SET_AVX2GATHER:
    case ZYDIS_ISA_SET_XSAVE:
    case ZYDIS_ISA_SET_XSAVEOPT:
    case ZYDIS_ISA_SET_XSAVEC:
    case ZYDIS_ISA_SET_XSAVES:
      return true;
    default:
      return false;
  }
}

class OpcodeSpace : public testing::Test {
 protected:
  void try_bytes(std::vector<u8> bytes, const StateChoice& choice, unsigned rounds) {
    while (bytes.size() < x86::kMaxInstructionLength) bytes.push_back(static_cast<u8>(random()));
    x86::Decoded decoded;
    if (x86::decode(x86::CodeMode::kLong64, bytes, decoded) != x86::DecodeStatus::kOk) return;
    if (excluded(decoded.info.mnemonic) || excluded_set(decoded.info.meta.isa_set)) return;
    if (bench.mode != x86::CodeMode::kLong64 && !means_the_same(bytes, decoded)) return;
    for (unsigned n = 0; n < decoded.info.operand_count; ++n)
      if (decoded.operands[n].type == ZYDIS_OPERAND_TYPE_REGISTER &&
          ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, decoded.operands[n].reg.value) ==
              ZYDIS_REGISTER_RSP)
        return;
    for (unsigned round = 0; round < rounds; ++round) {
      HostState state;
      randomize(state, random, choice);
      std::array<u8, kMemoryWindow> memory;
      random_bytes(memory, random);
      std::string report;
      const Compared result = compare(bench, decoded, state, memory, random, report);
      if (result == Compared::kSkipped) return;
      ++cases;
      ++by_set[decoded.info.meta.isa_set];
      if (result == Compared::kDifferent && ++failures <= 20) ADD_FAILURE() << report;
      if (bench.native.full()) bench.native.clear();
    }
  }

  // Whether the bytes are the same instruction in the bench's mode as in 64-bit mode.
  bool means_the_same(std::span<const u8> bytes, const x86::Decoded& in_64) {
    // These two clear eight registers there (save_area_test.cpp).
    if (in_64.info.mnemonic == ZYDIS_MNEMONIC_VZEROALL || in_64.info.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER)
      return false;
    x86::Decoded here;
    if (x86::decode(bench.mode, bytes, here) != x86::DecodeStatus::kOk) return false;
    if (here.info.mnemonic != in_64.info.mnemonic || here.info.length != in_64.info.length) return false;
    for (unsigned n = 0; n < here.info.operand_count_visible; ++n)
      if (here.operands[n].size != in_64.operands[n].size ||
          here.operands[n].type != in_64.operands[n].type ||
          (here.operands[n].type == ZYDIS_OPERAND_TYPE_REGISTER &&
           here.operands[n].reg.value != in_64.operands[n].reg.value))
        return false;
    return true;
  }

  u8 reg_rm(bool memory, unsigned reg) {
    return static_cast<u8>(memory ? 0x43 | reg << 3 : 0xc0 | reg << 3 | (random() & 7));
  }

  void legacy(const StateChoice& choice, unsigned rounds) {
    const std::vector<std::vector<u8>> maps = {{0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}};
    const std::vector<std::vector<u8>> prefixes = {{}, {0x66}, {0xf2}, {0xf3}};
    for (const auto& prefix : prefixes)
      for (const auto& map : maps)
        for (unsigned opcode = 0; opcode < 256; ++opcode)
          for (unsigned form = 0; form < 32; ++form) {
            const bool memory = (form & 1) != 0, w = (form & 2) != 0;
            std::vector<u8> bytes = prefix;
            // Sometimes a prefix that means nothing there: a segment, a REX that is not the last, another 66.
            static constexpr std::array<u8, 5> kNoise = {0x26, 0x3e, 0x48, 0x4f, 0x66};
            if (random() % 8 == 0) bytes.insert(bytes.begin(), kNoise[random() % kNoise.size()]);
            // REX.B only in register form: the base stays rbx.
            const bool rexless = bench.mode != x86::CodeMode::kLong64;
            const u8 rex = static_cast<u8>(
                0x40 | (rexless ? 0 : (w ? 8 : 0) | (random() & 4) | (memory ? 0 : random() & 1)));
            if (rex != 0x40) bytes.push_back(rex);
            bytes.insert(bytes.end(), map.begin(), map.end());
            bytes.push_back(static_cast<u8>(opcode));
            bytes.push_back(reg_rm(memory, form >> 2));
            if (memory)
              bytes.push_back(static_cast<u8>(kDisplacement + (random() % 4 == 0 ? random() % 16 : 0)));
            try_bytes(bytes, choice, rounds);
          }
  }

  void vex(const StateChoice& choice, unsigned rounds) {
    for (unsigned map = 1; map <= 3; ++map)
      for (unsigned wlpp = 0; wlpp < 16; ++wlpp)
        for (unsigned opcode = 0; opcode < 256; ++opcode)
          for (unsigned form = 0; form < 32; ++form) {
            const bool memory = (form & 1) != 0;
            const bool low = bench.mode != x86::CodeMode::kLong64;  // registers 0 to 7 only
            const unsigned vvvv = (form & 2) != 0 ? 0xf : (random() & 0xf) | (low ? 8u : 0u);
            const u8 rxb = static_cast<u8>((low ? 0x80 : random() & 0x80) | 0x40 |
                                           (memory || low ? 0x20 : random() & 0x20));
            std::vector<u8> bytes = {0xc4, static_cast<u8>(rxb | map),
                                     static_cast<u8>((wlpp & 8) << 4 | vvvv << 3 | (wlpp & 7)),
                                     static_cast<u8>(opcode), reg_rm(memory, form >> 2)};
            if (memory)
              bytes.push_back(static_cast<u8>(kDisplacement + (random() % 4 == 0 ? random() % 16 : 0)));
            try_bytes(bytes, choice, rounds);
          }
  }

  void x87(const StateChoice& choice, unsigned rounds) {
    for (unsigned opcode = 0xd8; opcode <= 0xdf; ++opcode) {
      for (unsigned modrm = 0xc0; modrm < 0x100; ++modrm)
        try_bytes({static_cast<u8>(opcode), static_cast<u8>(modrm)}, choice, rounds);
      for (unsigned reg = 0; reg < 8; ++reg)
        for (u8 offset = 0; offset < 16; ++offset)
          try_bytes({static_cast<u8>(opcode), reg_rm(true, reg), static_cast<u8>(kDisplacement + offset)},
                    choice, rounds);
    }
  }

  Random random{20261120};
  NativeBench bench;
  unsigned cases = 0, failures = 0;
  std::map<ZydisISASet, unsigned> by_set;
};

TEST_F(OpcodeSpace, LegacyEncodingsMatchTheHost) {
  legacy({}, 3);
  EXPECT_EQ(failures, 0u) << "of " << cases;
  EXPECT_GT(by_set[ZYDIS_ISA_SET_SSE], 1000u);
  EXPECT_GT(by_set[ZYDIS_ISA_SET_SSE2], 3000u);
  EXPECT_GT(by_set[ZYDIS_ISA_SET_PENTIUMMMX], 500u);
  EXPECT_GT(by_set[ZYDIS_ISA_SET_SSSE3], 500u);
  EXPECT_GT(by_set[ZYDIS_ISA_SET_SSE4], 500u);
  RecordProperty("cases", static_cast<int>(cases));
}

TEST_F(OpcodeSpace, LegacyEncodingsMatchTheHostUnderAnyMxcsr) {
  legacy({.unmask_simd = true}, 3);
  EXPECT_EQ(failures, 0u) << "of " << cases;
  RecordProperty("cases", static_cast<int>(cases));
}

TEST_F(OpcodeSpace, VexEncodingsMatchTheHost) {
  if (!bench.model.has(x86::Feature::kAvx2)) GTEST_SKIP() << "the host lacks AVX2";
  vex({}, 1);
  EXPECT_EQ(failures, 0u) << "of " << cases;
  EXPECT_GT(by_set[ZYDIS_ISA_SET_AVX], 5000u);
  EXPECT_GT(by_set[ZYDIS_ISA_SET_AVX2], 3000u);
  EXPECT_GT(by_set[ZYDIS_ISA_SET_FMA], 1000u);
  EXPECT_GT(by_set[ZYDIS_ISA_SET_BMI2], 100u);
  RecordProperty("cases", static_cast<int>(cases));
}

TEST_F(OpcodeSpace, VexEncodingsMatchTheHostUnderAnyMxcsr) {
  if (!bench.model.has(x86::Feature::kAvx2)) GTEST_SKIP() << "the host lacks AVX2";
  vex({.unmask_simd = true}, 1);
  EXPECT_EQ(failures, 0u) << "of " << cases;
  RecordProperty("cases", static_cast<int>(cases));
}

TEST_F(OpcodeSpace, ThirtyTwoBitCodeMatchesTheHost) {
  if (!bench.model.has(x86::Feature::kAvx2)) GTEST_SKIP() << "the host lacks AVX2";
  bench.enter_protected_mode();
  legacy({}, 1);
  vex({}, 1);
  EXPECT_EQ(failures, 0u) << "of " << cases;
  EXPECT_GT(cases, 20000u);
  RecordProperty("cases", static_cast<int>(cases));
}

TEST_F(OpcodeSpace, X87MatchesTheHost) {
  x87({}, 40);
  EXPECT_EQ(failures, 0u) << "of " << cases;
  EXPECT_GT(cases, 10000u);
  RecordProperty("cases", static_cast<int>(cases));
}

TEST_F(OpcodeSpace, X87MatchesTheHostWithExceptionsUnmasked) {
  x87({.unmask_x87 = true}, 40);
  EXPECT_EQ(failures, 0u) << "of " << cases;
  RecordProperty("cases", static_cast<int>(cases));
}

}  // namespace
}  // namespace vellum::test
