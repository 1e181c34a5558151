// Images that are damaged, hostile, or need what is not there: one line that says what and why, or I/O errors
// in the guest.
#include <fstream>
#include <limits>

#include "base/byte_order.hpp"
#include "qcow2_fixture.hpp"

namespace vellum {
namespace {

using test::Kind;

struct Qcow2Errors : test::Qcow2Fixture {
  void SetUp() override {
    Qcow2Fixture::SetUp();
    if (IsSkipped()) return;
    run("qemu-img create -f qcow2 good 1M");
    good = contents("good");
  }
  void put32(u64 offset, u32 value) { store_be32(&good[offset], value); }
  void put64(u64 offset, u64 value) { store_be64(&good[offset], value); }
  void put_name(std::string_view name) {  // of a backing file
    put64(8, 256), put32(16, static_cast<u32>(name.size()));
    std::ranges::copy(name, &good[256]);
  }
  void expect_error(std::string_view text, bool read_only = false) {
    make_file("bad", good);
    DiskConfig bad = config("bad");
    bad.read_only = read_only;
    const std::string error = error_of(bad);
    EXPECT_NE(error.find(text), std::string::npos) << error;
    EXPECT_NE(error.find("bad'"), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    good = contents("good");
  }
  std::vector<u8> good;
};

TEST_F(Qcow2Errors, Headers) {
  put32(20, 8), expect_error("clusters of 2^8 bytes");
  put32(20, 22), expect_error("clusters of 2^22 bytes");
  put64(24, 0), expect_error("no bytes");
  put64(24, ~u64{0}), expect_error("too large");
  put64(24, u64{1} << 40), expect_error("too small for its disk");
  put32(32, 1), expect_error("encrypted");
  put32(36, 1u << 30), expect_error("L1 table of 1073741824 entries is too large");
  put64(40, 77), expect_error("L1 table cannot be at offset 77");
  put64(40, ~u64{0xffff}), expect_error("L1 table cannot be at");
  put64(48, 0), expect_error("refcount table cannot be at offset 0");
  put32(56, 0), expect_error("missing");
  put32(56, 1u << 20), expect_error("too large");
  put32(60, 1u << 20), expect_error("snapshots");
  put64(72, 1), expect_error("not closed properly");
  put64(72, 2), expect_error("marked as corrupt");
  put64(72, 4), expect_error("'external data file'");
  put64(72, 16 | (u64{1} << 40)), expect_error("'extended L2 entries', 'bit 40'");
  put32(96, 7), expect_error("refcounts of 2^7 bits");
  put32(100, 90), expect_error("cannot have 90 bytes");
  put64(8, 200), put32(16, 5000), expect_error("name of the qcow2 image's backing file");
  put_name("a\nb"), expect_error("control characters");
  put_name("a\x1b[2Jb"), expect_error("control characters");
  put_name("a\x7f"), expect_error("control characters");
  put_name(std::string_view("a\0b", 3)), expect_error("control characters");
  put32(112, 0x12345678), put32(116, ~0u), expect_error("header extension is longer");
  good.resize(80), expect_error("ends within its header");
}

TEST_F(Qcow2Errors, WhatIsLeftOfACorruptImageCanBeRead) {
  put64(72, 2);
  make_file("bad", good);
  DiskConfig bad = config("bad");
  bad.read_only = true;
  EXPECT_EQ(read(*open(bad), 0, 4096), std::vector<u8>(4096));
}

TEST_F(Qcow2Errors, EntriesThatNoImageHas) {
  run("head -c 1M /dev/urandom >data; qemu-img convert -O qcow2 data full");
  const auto full = contents("full");
  const u64 l1 = load_be64(&full[40]);
  const u64 l2 = load_be64(&full[l1]) & 0x00ff'ffff'ffff'fe00;
  const auto with = [&](u64 offset, u64 value) {
    auto bytes = full;
    store_be64(&bytes[offset], value);
    make_file("bad", bytes);
    return open(config("bad"));
  };
  const std::vector<u8> sector(512, 1);
  EXPECT_EQ(read(*with(l1, 0x8000'0000'0000'0200), 0, 512).size(), 0u);  // a table within a cluster
  EXPECT_EQ(write(*with(l1, 0x8000'0000'0000'0000), 0, sector), EIO);    // the header as a table
  EXPECT_EQ(read(*with(l2, 0x8000'0000'0000'0200), 0, 512).size(), 0u);
  EXPECT_EQ(write(*with(l2, 0x8000'0000'0000'0000 | l1), 0, sector), EIO);     // the L1 table as data
  EXPECT_EQ(read(*with(l2, 0x4000'0000'0000'0000 | l1), 0, 512).size(), 0u);   // compressed, and it is not
  EXPECT_EQ(read(*with(l2, 0x8000'0000'0000'0200), 65536, 512).size(), 512u);  // the others can be read
}

TEST_F(Qcow2Errors, RefcountsThatLie) {
  run("head -c 64k /dev/urandom >data; qemu-img convert -O qcow2 data full; qemu-img resize full 1M");
  auto bytes = contents("full");
  const u64 table = load_be64(&bytes[48]);
  const u64 block = load_be64(&bytes[table]);
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(block), 65536, u8{0});  // all free, the header too
  make_file("bad", bytes);
  EXPECT_EQ(write(*open(config("bad")), 65536, std::vector<u8>(512)), EIO);
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(block), 65536, u8{1});  // all used
  make_file("bad", bytes);
  auto disk = open(config("bad"));
  EXPECT_EQ(write(*disk, 0, std::vector<u8>(512)), 0);
  EXPECT_EQ(write(*disk, 65536, std::vector<u8>(512)), EIO);
  disk.reset();
  bytes[table + 6] = 0x02;  // a block within a cluster
  make_file("bad", bytes);
  EXPECT_EQ(write(*open(config("bad")), 65536, std::vector<u8>(512)), EIO);
}

TEST_F(Qcow2Errors, BackingFiles) {
  run("qemu-img create -f qcow2 -u -F qcow2 -b none orphan 1M");
  EXPECT_NE(error_of(config("orphan")).find("none': No such file"), std::string::npos)
      << error_of(config("orphan"));
  run("qemu-img create -f qcow2 -u -F raw -b nbd://host/disk remote 1M");
  EXPECT_NE(error_of(config("remote")).find("'nbd://host/disk' is no file's name"), std::string::npos);
  run("qemu-img create -f qcow2 -u -F vmdk -b good other 1M");
  EXPECT_NE(error_of(config("other")).find("is a vmdk image"), std::string::npos);
  run("qemu-img create -f qcow2 -u -F qcow2 -b two one 1M; qemu-img create -f qcow2 -u -F qcow2 -b one two "
      "1M");
  EXPECT_NE(error_of(config("one")).find("circle"), std::string::npos) << error_of(config("one"));
  run("mkdir folder; qemu-img create -f qcow2 -u -F qcow2 -b ../good folder/overlay 1M");
  EXPECT_EQ(read(*open(config("folder/overlay")), 0, 512), std::vector<u8>(512));
}

TEST_F(Qcow2Errors, ABackingFileInUseIsShared) {
  run("qemu-img create -f qcow2 -F qcow2 -b good a; qemu-img create -f qcow2 -F qcow2 -b good b");
  const auto a = open(config("a")), b = open(config("b"));
  EXPECT_EQ(write(*a, 0, std::vector<u8>(512, 1)), 0);
  EXPECT_EQ(read(*b, 0, 512), std::vector<u8>(512, 0));
  EXPECT_NE(error_of(config("good")).find("in use by another program"), std::string::npos);
}

TEST_F(Qcow2Errors, QemuSeesOurLockAndWeSeeIts) {
  auto disk = open(config("good"));
  EXPECT_NE(status_of("qemu-io -f qcow2 -c 'write 0 512' good"), 0);
  disk.reset();
  run("qemu-io -f qcow2 -c 'write 0 512' good");
  run("mkfifo in out; qemu-io -f qcow2 good <in >out 2>/dev/null &");
  std::ofstream in(path("in"));
  std::ifstream out(path("out"));
  std::string prompt(8, ' ');
  out.read(prompt.data(), 8);  // it has opened the image
  EXPECT_EQ(prompt, "qemu-io>");
  EXPECT_NE(error_of(config("good")).find("in use by another program"), std::string::npos);
  in << "quit" << std::endl;
  out.ignore(std::numeric_limits<std::streamsize>::max());  // it has ended
  EXPECT_EQ(error_of(config("good")), "opened");
}

}  // namespace
}  // namespace vellum
