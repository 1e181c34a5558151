// Overlays: writes go elsewhere, the image below stays as it is. What Vellum makes, QEMU's tools read.
#include <stdlib.h>

#include <optional>

#include "qcow2_fixture.hpp"

namespace vellum {
namespace {

/// An environment variable, as long as the object lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* const old = ::getenv(name)) old_ = old;
    ::setenv(name, value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

struct Overlay : test::Qcow2Fixture {
  DiskConfig over(const std::string& base, const std::string& overlay) const {
    DiskConfig made = config(base);
    made.overlay = overlay;
    return made;
  }
  auto files() const { return std::distance(std::filesystem::directory_iterator(folder.path()), {}); }
};

TEST_F(Overlay, ATemporaryOneLeavesNothing) {
  const Variable place("TMPDIR", folder.path());
  make_file("base", sectors(100));
  {
    const auto disk = open(over("base", "tmp"));
    EXPECT_EQ(disk->size(), 51200u);
    EXPECT_FALSE(disk->read_only());
    EXPECT_EQ(write(*disk, 512 * 3, std::vector<u8>(512, 0xaa)), 0);
    EXPECT_EQ(act(*disk, test::Kind::kFlush), 0);
    EXPECT_EQ(read(*disk, 512 * 3, 512), std::vector<u8>(512, 0xaa));
    EXPECT_EQ(read(*disk, 512 * 99, 512), std::vector<u8>(512, 100));
    EXPECT_EQ(files(), 1);
    const auto other = open(over("base", "tmp"));
    EXPECT_EQ(read(*other, 512 * 3, 512), std::vector<u8>(512, 4));
  }
  EXPECT_EQ(contents("base"), sectors(100));
  EXPECT_EQ(files(), 1);
}

TEST_F(Overlay, AFileIsMadeAndGoneOnWith) {
  make_file("data", sectors(300));
  run("qemu-img convert -O qcow2 data base");
  const auto before = contents("base");
  EXPECT_EQ(write(*open(over("base", path("top"))), 512, std::vector<u8>(1024, 0xaa)), 0);
  EXPECT_EQ(write(*open(over("base", path("top"))), 2048, std::vector<u8>(512, 0xbb)), 0);
  EXPECT_EQ(contents("base"), before);
  run("qemu-img check top");
  test::Model model(300 * 512);
  model.bytes = sectors(300);
  model.set({512, 1024}, std::vector<u8>(1024, 0xaa));
  model.set({2048, 512}, std::vector<u8>(512, 0xbb));
  make_file("expected", model.bytes);
  run("qemu-img compare -f raw -F qcow2 expected top");
  run("qemu-img commit top && qemu-img compare -f raw -F qcow2 expected base");
}

TEST_F(Overlay, OneOfAnotherImageIsRefused) {
  make_file("base", sectors(8));
  make_file("other", sectors(8));
  open(over("base", path("top"))).reset();
  EXPECT_NE(error_of(over("other", path("top"))).find("is no overlay of"), std::string::npos);
  run("qemu-img create -f qcow2 alone 1M");
  EXPECT_NE(error_of(over("base", path("alone"))).find("it stands on nothing"), std::string::npos);
  EXPECT_NE(error_of(over("missing", path("new"))).find("No such file"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path("new")));
  EXPECT_NE(error_of(over("base", path("no/new"))).find("No such file"), std::string::npos);
  make_file("ba\nse", sectors(8));
  EXPECT_NE(error_of(over("ba\nse", path("new"))).find("control characters"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path("new")));
}

TEST_F(Overlay, TheImageBelowIsNotToBeWritten) {
  make_file("base", sectors(8));
  const auto disk = open(over("base", "tmp"));
  EXPECT_NE(error_of(config("base")).find("in use by another program"), std::string::npos);
}

TEST_F(Overlay, OfALargeDisk) {
  run("truncate -s 5T base");
  const auto disk = open(over("base", path("top")));
  EXPECT_EQ(write(*disk, (u64{5} << 40) - 512, std::vector<u8>(512, 7)), 0);
  EXPECT_EQ(read(*disk, (u64{5} << 40) - 512, 512), std::vector<u8>(512, 7));
  EXPECT_EQ(act(*disk, test::Kind::kFlush), 0);
}

}  // namespace
}  // namespace vellum
