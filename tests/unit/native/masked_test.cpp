// Masked moves and gathers: results against the host, and what is left when an element faults.
#include <cstring>

#include "differential.hpp"

namespace vellum::test {
namespace {

using interp::Flow;

struct Encoding {
  const char* name;
  std::vector<u8> bytes;  // memory operand [rbx], or [rbx + index * scale] for gathers
};

class Masked : public testing::Test {
 protected:
  void SetUp() override {
    if (!bench.model.has(x86::Feature::kAvx2)) GTEST_SKIP() << "the host lacks AVX2";
  }

  // Signs of every lane at random, for masks of any element size.
  void random_mask(std::array<u8, 32>& vector) {
    for (auto& byte : vector) byte = static_cast<u8>(random());
  }

  Random random{7};
  NativeBench bench;
};

// ymm1 (or xmm1) is the destination or source, ymm2 the mask, ymm3 the index of a gather.
const std::vector<Encoding> kMaskMoves = {
    {"vmaskmovps xmm1, xmm2, [rbx]", {0xc4, 0xe2, 0x69, 0x2c, 0x0b}},
    {"vmaskmovps ymm1, ymm2, [rbx]", {0xc4, 0xe2, 0x6d, 0x2c, 0x0b}},
    {"vmaskmovpd ymm1, ymm2, [rbx]", {0xc4, 0xe2, 0x6d, 0x2d, 0x0b}},
    {"vmaskmovps [rbx], xmm2, xmm1", {0xc4, 0xe2, 0x69, 0x2e, 0x0b}},
    {"vmaskmovps [rbx], ymm2, ymm1", {0xc4, 0xe2, 0x6d, 0x2e, 0x0b}},
    {"vmaskmovpd [rbx], ymm2, ymm1", {0xc4, 0xe2, 0x6d, 0x2f, 0x0b}},
    {"vpmaskmovd ymm1, ymm2, [rbx]", {0xc4, 0xe2, 0x6d, 0x8c, 0x0b}},
    {"vpmaskmovq ymm1, ymm2, [rbx]", {0xc4, 0xe2, 0xed, 0x8c, 0x0b}},
    {"vpmaskmovd [rbx], ymm2, ymm1", {0xc4, 0xe2, 0x6d, 0x8e, 0x0b}},
    {"vpmaskmovq [rbx], xmm2, xmm1", {0xc4, 0xe2, 0xe9, 0x8e, 0x0b}},
};

TEST_F(Masked, MovesMatchTheHost) {
  for (const auto& encoding : kMaskMoves) {
    x86::Decoded decoded;
    ASSERT_EQ(x86::decode(x86::CodeMode::kLong64, encoding.bytes, decoded), x86::DecodeStatus::kOk)
        << encoding.name;
    for (unsigned round = 0; round < 200; ++round) {
      HostState state;
      randomize(state, random, {});
      random_mask(state.ymm[2]);
      std::array<u8, kMemoryWindow> memory;
      random_bytes(memory, random);
      std::string report;
      ASSERT_EQ(compare(bench, decoded, state, memory, random, report), Compared::kSame) << report;
    }
  }
}

TEST_F(Masked, ByteMovesMatchTheHost) {
  const std::vector<Encoding> encodings = {{"maskmovdqu xmm1, xmm2", {0x66, 0x0f, 0xf7, 0xca}},
                                           {"vmaskmovdqu xmm1, xmm2", {0xc5, 0xf9, 0xf7, 0xca}},
                                           {"maskmovq mm1, mm2", {0x0f, 0xf7, 0xca}}};
  for (const auto& encoding : encodings) {
    for (unsigned round = 0; round < 200; ++round) {
      HostState state;
      randomize(state, random, {});
      random_mask(state.ymm[2]);
      alignas(64) std::array<u8, 64> memory;
      random_bytes(memory, random);
      copy_state(state, bench.v.state);
      const u64 at = kData + 0xfe0;  // 0x18 on: crosses into the next page
      bench.poke(at, memory);
      bench.v.state.gpr[x86::kRdi] = at + 0x18;
      state.gpr[x86::kRdi] = reinterpret_cast<u64>(memory.data()) + 0x18;

      const Flow flow = bench.run(encoding.bytes);
      ASSERT_EQ(run_on_host(encoding.bytes, state), HostOutcome::kDone);

      ASSERT_EQ(flow, Flow::kNext) << encoding.name;
      const auto guest = bench.peek(at, 64);
      EXPECT_TRUE(std::equal(guest.begin(), guest.end(), memory.begin())) << encoding.name;
      EXPECT_EQ(bench.v.state.xsave.fsw(), state.fsw()) << encoding.name;
      EXPECT_EQ(bench.v.state.xsave.ftw(), state.ftw()) << encoding.name;
      for (unsigned n = 0; n < 8; ++n)
        EXPECT_EQ(std::memcmp(bench.v.state.xsave.st(n), state.st(n), 10), 0) << n;
    }
  }
}

TEST_F(Masked, ElementsThatAreMaskedOffDoNotFault) {
  VcpuState& s = bench.v.state;
  s.gpr[x86::kRbx] = kHole - 8;  // two dwords before the hole
  bench.poke(kHole - 8, std::array<u8, 8>{1, 2, 3, 4, 5, 6, 7, 8});
  s.xsave.xmm(2)[3] = 0x80, s.xsave.xmm(2)[7] = 0x80;  // elements 0 and 1

  EXPECT_EQ(bench.run({0xc4, 0xe2, 0x6d, 0x2c, 0x0b}), Flow::kNext);  // vmaskmovps ymm1, ymm2, [rbx]
  EXPECT_EQ(s.xsave.xmm(1)[7], 8);
  EXPECT_EQ(bench.run({0xc4, 0xe2, 0x6d, 0x2e, 0x0b}), Flow::kNext);  // and back
}

TEST_F(Masked, AMaskedStoreThatFaultsStoresNothing) {
  VcpuState& s = bench.v.state;
  s.gpr[x86::kRbx] = kHole - 8;
  bench.poke(kHole - 8, std::array<u8, 8>{});
  std::fill_n(s.xsave.xmm(1), 16, u8{0x77});
  s.xsave.xmm(2)[3] = 0x80, s.xsave.xmm(2)[11] = 0x80;  // element 2 lies in the hole

  EXPECT_EQ(bench.run({0xc4, 0xe2, 0x69, 0x2e, 0x0b}), Flow::kFault);
  EXPECT_EQ(bench.v.fault.vector, x86::kPf);
  EXPECT_EQ(bench.v.fault.address, kHole);
  EXPECT_EQ(bench.peek(kHole - 8, 8), std::vector<u8>(8, 0));
}

struct GatherCase {
  const char* name;
  std::vector<u8> bytes;
  unsigned index_bytes;
};

// vgather…: destination 1, mask 2, [rbx + 3 * 4].
const std::vector<GatherCase> kGathers = {
    {"vpgatherdd xmm", {0xc4, 0xe2, 0x69, 0x90, 0x0c, 0x9b}, 4},
    {"vpgatherdd ymm", {0xc4, 0xe2, 0x6d, 0x90, 0x0c, 0x9b}, 4},
    {"vpgatherdq xmm", {0xc4, 0xe2, 0xe9, 0x90, 0x0c, 0x9b}, 4},
    {"vpgatherdq ymm", {0xc4, 0xe2, 0xed, 0x90, 0x0c, 0x9b}, 4},
    {"vpgatherqd xmm", {0xc4, 0xe2, 0x69, 0x91, 0x0c, 0x9b}, 8},
    {"vpgatherqd ymm", {0xc4, 0xe2, 0x6d, 0x91, 0x0c, 0x9b}, 8},
    {"vpgatherqq xmm", {0xc4, 0xe2, 0xe9, 0x91, 0x0c, 0x9b}, 8},
    {"vpgatherqq ymm", {0xc4, 0xe2, 0xed, 0x91, 0x0c, 0x9b}, 8},
    {"vgatherdps ymm", {0xc4, 0xe2, 0x6d, 0x92, 0x0c, 0x9b}, 4},
    {"vgatherdpd xmm", {0xc4, 0xe2, 0xe9, 0x92, 0x0c, 0x9b}, 4},
    {"vgatherqps ymm", {0xc4, 0xe2, 0x6d, 0x93, 0x0c, 0x9b}, 8},
    {"vgatherqpd ymm", {0xc4, 0xe2, 0xed, 0x93, 0x0c, 0x9b}, 8},
};

void small_indices(std::array<u8, 32>& vector, unsigned index_bytes, Random& random) {
  for (unsigned n = 0; n < 32 / index_bytes; ++n) {
    const i64 index = static_cast<i64>(random() % 81) - 40;
    std::memcpy(vector.data() + n * index_bytes, &index, index_bytes);
  }
}

TEST_F(Masked, GathersMatchTheHost) {
  for (const auto& gather : kGathers) {
    x86::Decoded decoded;
    ASSERT_EQ(x86::decode(x86::CodeMode::kLong64, gather.bytes, decoded), x86::DecodeStatus::kOk)
        << gather.name;
    for (unsigned round = 0; round < 100; ++round) {
      HostState state;
      randomize(state, random, {});
      random_mask(state.ymm[2]);
      small_indices(state.ymm[3], gather.index_bytes, random);
      alignas(64) std::array<u8, kMemoryWindow> memory;
      random_bytes(memory, random);
      copy_state(state, bench.v.state);
      const u64 at = kData + 0xf00;
      bench.poke(at, memory);
      bench.v.state.gpr[x86::kRbx] = at + 256;
      state.gpr[x86::kRbx] = reinterpret_cast<u64>(memory.data()) + 256;

      ASSERT_EQ(bench.run(gather.bytes), Flow::kNext) << gather.name;
      ASSERT_EQ(run_on_host(gather.bytes, state), HostOutcome::kDone);

      for (unsigned n = 1; n <= 3; ++n) {
        EXPECT_EQ(std::memcmp(bench.v.state.xsave.xmm(n), state.ymm[n].data(), 16), 0)
            << gather.name << " ymm" << n;
        EXPECT_EQ(std::memcmp(bench.v.state.xsave.ymm_hi(n), state.ymm[n].data() + 16, 16), 0)
            << gather.name << " ymm" << n;
      }
    }
  }
}

TEST_F(Masked, AGatherThatFaultsMidwayKeepsWhatIsDone) {
  VcpuState& s = bench.v.state;
  s.gpr[x86::kRbx] = kHole - 8;
  bench.poke(kHole - 8, std::array<u8, 8>{1, 0, 0, 0, 2, 0, 0, 0});
  const std::array<u32, 4> indices = {1, 0, 2, 0};  // element 2 lies in the hole
  std::memcpy(s.xsave.xmm(3), indices.data(), 16);
  std::fill_n(s.xsave.xmm(2), 16, u8{0x80});
  std::fill_n(s.xsave.xmm(1), 16, u8{0xcc});

  EXPECT_EQ(bench.run({0xc4, 0xe2, 0x69, 0x90, 0x0c, 0x9b}), Flow::kFault);
  EXPECT_EQ(bench.v.fault.vector, x86::kPf);
  EXPECT_EQ(bench.v.fault.address, kHole);
  std::array<u32, 4> result, mask;
  std::memcpy(result.data(), s.xsave.xmm(1), 16);
  std::memcpy(mask.data(), s.xsave.xmm(2), 16);
  EXPECT_EQ(result, (std::array<u32, 4>{2, 1, 0xcccccccc, 0xcccccccc}));
  EXPECT_EQ(mask, (std::array<u32, 4>{0, 0, 0xffffffff, 0xffffffff}));
}

TEST_F(Masked, AGatherWithOneRegisterTwiceIsUndefined) {
  // vpgatherdd xmm1, [rbx + xmm3*4], xmm1; … xmm3, [rbx + xmm3*4], xmm2: the decoder or the binder refuses
  // them.
  for (const std::vector<u8>& bytes :
       {std::vector<u8>{0xc4, 0xe2, 0x71, 0x90, 0x0c, 0x9b}, {0xc4, 0xe2, 0x69, 0x90, 0x1c, 0x9b}}) {
    interp::Insn insn;
    EXPECT_FALSE(bench.bind(bytes, insn));
  }
}

}  // namespace
}  // namespace vellum::test
