// The controller's commands that move data (data sheet §5.1): their steps on the event loop.
#include <algorithm>
#include <bit>
#include <utility>

#include "devices/floppy/controller.hpp"

namespace vellum::floppy {

void Controller::begin_data() {
  const u8 cylinder = format() != nullptr ? drive().cylinder : u8{0}, side = head() ? 1 : 0;
  s_.status = {unit_status(), 0, 0};
  if (opcode() == kFormatTrack) {
    s_.id = {cylinder, side, 1, s_.fifo[2]};
    s_.last_sector = s_.fifo[3];
    s_.filler = s_.fifo[5];
  } else {
    s_.id = {s_.fifo[2], s_.fifo[3], s_.fifo[4], s_.fifo[5]};
    s_.last_sector = s_.fifo[6];
    s_.left = s_.fifo[8] == 0 ? 256 : s_.fifo[8];
    if (opcode() == kReadTrack) {
      // The first sector should be the one that was named; the track is read all the same.
      if (s_.id.c != cylinder || s_.id.h != side || s_.id.r != 1) s_.status[1] = kNoData;
      s_.id = {cylinder, side, 1, s_.id.n};
    } else if ((s_.config & kImpliedSeek) != 0) {
      seek_to(s_.id.c);
      s_.status[0] |= kSeekEnd;
    }
  }
  s_.target = s_.output & kDriveMask;
  s_.phase = Phase::kExecution;
  s_.step = Step::kSearch;
  s_.last = s_.dirty = false;
  s_.moved = 0;
  s_.buffer.clear();
  s_.work = true;
}

// ---- Ends ----

void Controller::stop(u8 ending, u8 status1, u8 status2) {
  s_.status[0] = static_cast<u8>((s_.status[0] & kSeekEnd) | ending | unit_status());
  s_.status[1] |= status1;
  s_.status[2] |= status2;
  s_.step = Step::kEnd;
}

void Controller::finish() {
  if ((s_.status[0] & kAbnormal) != 0) failures_.add();
  s_.buffer.clear();
  s_.moved = 0;
  result({s_.status[0], s_.status[1], s_.status[2], s_.id.c, s_.id.h, s_.id.r, s_.id.n});
  interrupt();
}

// After a run: what the result names, or the next run begins with.
void Controller::next_id() {
  SectorId& id = s_.id;
  const u8 last = static_cast<u8>(id.r + s_.run - 1);
  if (last != s_.last_sector) {
    id.r = static_cast<u8>(last + 1);
    return;
  }
  id.r = 1;
  if ((s_.command & kMultiTrack) == 0 || head()) ++id.c;
  if ((s_.command & kMultiTrack) != 0) id.h ^= 1;
}

void Controller::passed() {
  const u8 last = static_cast<u8>(s_.id.r + s_.run - 1);
  const bool at_end = last == s_.last_sector;
  const bool other_side = (s_.command & kMultiTrack) != 0 && !head();
  if (opcode() == kVerify) {
    s_.left = static_cast<u16>(s_.left - std::min<u16>(s_.left, s_.run));
    s_.last = (s_.unit & kEnableCount) != 0 ? s_.left == 0 : at_end && !other_side;
  }
  next_id();
  if (opcode() == kReadDeleted) return stop(0, 0, kControlMark);
  if (s_.last) return stop(0, 0);
  if (at_end && !other_side) return stop(kAbnormal, kEndOfCylinder);
  if (at_end) s_.unit |= kHead;
  s_.step = Step::kSearch;
}

// ---- Steps ----

// GUEST-CONTROLLED: the sector's id. A run of those that follow it on the track.
void Controller::search() {
  const Format* const f = format();
  if (!readable()) return stop(kAbnormal, kNoAddressMark);
  if (writes() && media_[selected()]->read_only()) return stop(kAbnormal, kNotWritable);
  s_.moved = 0;
  if (opcode() == kFormatTrack) {
    s_.run = s_.last_sector;
    if (s_.run != f->sectors || s_.id.n != kSizeCode) return stop(kAbnormal, kNotWritable);
    s_.buffer.assign(4 * std::size_t{s_.run}, 0);
    s_.step = Step::kHost;
    return;
  }
  if (s_.id.c != drive().cylinder) return stop(kAbnormal, kNoData, kWrongCylinder);
  const bool there =
      s_.id.h == (head() ? 1 : 0) && s_.id.n == kSizeCode && s_.id.r != 0 && s_.id.r <= f->sectors;
  if (!there) return stop(kAbnormal, kNoData);
  const u8 end = s_.last_sector >= s_.id.r ? std::min(s_.last_sector, f->sectors) : f->sectors;
  s_.run = static_cast<u8>(end - s_.id.r + 1);
  // No sector here is marked as deleted: READ DELETED DATA passes all by, or ends with the first.
  if (opcode() == kReadDeleted && (s_.command & kSkip) != 0) return passed();
  // By the FIFO each sector is written when the host has given it.
  if (opcode() == kReadDeleted || (by_fifo() && writes())) s_.run = 1;
  if (opcode() == kVerify && (s_.unit & kEnableCount) != 0)
    s_.run = static_cast<u8>(std::min<u16>(s_.run, s_.left));
  if (writes()) {
    s_.buffer.assign(s_.run * kSector, 0);
    s_.step = Step::kHost;
  } else {
    s_.step = Step::kRead;
  }
}

// Between the buffer and the host. False: that has to wait.
bool Controller::exchange() {
  const auto rest = std::span(s_.buffer).subspan(s_.moved);
  if (by_fifo()) {
    if (!rest.empty()) {
      interrupt();
      return false;
    }
  } else {
    const bool open = (s_.output & kGate) != 0 && dma_.open(kDmaChannel);
    dma_.request(kDmaChannel, (s_.output & kGate) != 0 && !open);
    if (!open) return false;
    const auto moved = writes() ? dma_.from_memory(kDmaChannel, rest) : dma_.to_memory(kDmaChannel, rest);
    s_.moved += static_cast<u32>(moved.bytes);
    s_.last = moved.last;
  }
  exchanged();
  return true;
}

void Controller::exchanged() {
  if (opcode() == kFormatTrack) return lay_out_track();
  // What was begun of a sector is all of it: the host takes no more, or zeroes follow.
  s_.run = static_cast<u8>((s_.moved + kSector - 1) / kSector);
  if (!writes()) return passed();
  s_.buffer.resize(s_.run * kSector);
  s_.step = Step::kWrite;
}

// The host has given an id for each sector. An image has room for one order of sectors only.
void Controller::lay_out_track() {
  if (s_.moved < s_.buffer.size()) return stop(kAbnormal, kOverrun);
  u64 seen = 0;
  for (std::size_t at = 0; at < s_.buffer.size(); at += 4) {
    const u8* const id = &s_.buffer[at];  // GUEST-CONTROLLED
    const bool here = id[0] == drive().cylinder && id[1] == (head() ? 1 : 0) && id[3] == kSizeCode;
    if (!here || id[2] == 0 || id[2] > s_.run) return stop(kAbnormal, kNotWritable);
    seen |= u64{1} << id[2];
  }
  if (std::popcount(seen) != s_.run) return stop(kAbnormal, kNotWritable);
  s_.buffer.assign(s_.run * kSector, s_.filler);
  s_.step = Step::kWrite;
}

// ---- The medium ----

u64 Controller::location() const {
  const Format& f = *format();
  const u64 track = u64{drive().cylinder} * kHeads + (head() ? 1 : 0);
  return track * f.track_bytes() + (s_.id.r - 1u) * kSector;
}

DiskRequest Controller::medium_request(DiskRequest::Kind kind) {
  auto buffer = std::make_shared<std::vector<u8>>();
  DiskRequest request;
  request.kind = kind;
  if (kind == DiskRequest::Kind::kRead) {
    buffer->resize(s_.run * kSector);
    read_bytes_.add(buffer->size());
  } else if (kind == DiskRequest::Kind::kWrite) {
    *buffer = std::exchange(s_.buffer, {});
    s_.moved = 0;
    written_bytes_.add(buffer->size());
  }
  if (!buffer->empty()) {
    request.offset = location();
    request.length = buffer->size();
    request.buffers = {{buffer->data(), buffer->size()}};
  }
  under_way_ = true;
  request.done = [this, buffer, generation = generation_](int error) {
    requested(generation, *buffer, error);
  };
  return request;
}

// What the command needs next of the medium; nothing if it has ended or waits for the host.
std::optional<DiskRequest> Controller::next_request() {
  s_.work = false;
  while (s_.phase == Phase::kExecution && !under_way_) {
    switch (s_.step) {
      case Step::kSearch:
        search();
        break;
      case Step::kHost:
        if (!exchange()) return std::nullopt;
        break;
      case Step::kRead:
        return medium_request(DiskRequest::Kind::kRead);
      case Step::kWrite:
        return medium_request(DiskRequest::Kind::kWrite);
      case Step::kEnd:
        if (s_.dirty) return medium_request(DiskRequest::Kind::kFlush);
        finish();
        break;
    }
  }
  return std::nullopt;
}

void Controller::requested(u64 generation, std::vector<u8>& buffer, int error) {
  {
    const std::scoped_lock lock(mutex_);
    if (generation != generation_) return;
    under_way_ = false;
    switch (s_.step) {
      case Step::kRead:
        if (error != 0) {
          stop(kAbnormal, kDataError, kDataErrorInData);
        } else if (opcode() == kVerify) {
          passed();
        } else {
          s_.buffer = std::move(buffer);
          s_.step = Step::kHost;
        }
        break;
      case Step::kWrite:
        s_.dirty = true;
        if (error != 0) {
          stop(kAbnormal, kNoData);
        } else if (opcode() == kFormatTrack) {
          stop(0, 0);
        } else {
          passed();
        }
        break;
      case Step::kEnd:  // flushed
        s_.dirty = false;
        if (error != 0) stop(kAbnormal, kNoData);
        break;
      default:
        return;
    }
  }
  submit();
}

bool Controller::submit() {
  std::optional<DiskRequest> request;
  std::shared_ptr<Disk> medium;
  {
    const std::scoped_lock lock(mutex_);
    request = next_request();
    if (request) medium = media_[selected()];
  }
  if (!request) return false;
  medium->submit(std::move(*request));
  return true;
}

void Controller::run() {
  if (!submit() || !context_.synchronous) return;
  for (const auto& medium : media_)
    if (medium) medium->finish_all();
}

}  // namespace vellum::floppy
