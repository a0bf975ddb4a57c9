#pragma once
// One stream of a socket worker, and lists of streams. Owner thread only.

#include <array>
#include <cstdint>

#include "base/link.h"
#include "base/messages.h"
#include "port/socket_deframe_datapath.h"
#include "port/socket_queue.h"
#include "port/socket_slab.h"

struct rte_mbuf;

namespace slipway {

struct EdgeStream;  // port/socket_edge.h

enum class StreamLife : std::uint8_t {
  kFree,      // no such stream
  kOpen,
  kDraining,  // asked to close: what is queued is sent, nothing is read
  kLingering, // all is sent and our half is shut: the peer's last bytes are thrown away until its end comes
  kClosing,   // nothing moves any more: operations are waited for
};

struct StreamNode {
  LinkIndex before = kNoLink;
  LinkIndex after = kNoLink;
  bool listed = false;
};

// Zero-copy sends whose buffers the kernel still uses, oldest first. They may be told finished in any order; frames
// are released in order.
struct ZeroCopyBatches {
  static constexpr std::uint32_t kMax = 8;
  std::array<std::uint32_t, kMax> frames{};
  std::array<bool, kMax> finished{};
  std::uint32_t begin = 0;
  std::uint32_t count = 0;
};

struct Stream {
  int fd = -1;
  LinkIndex link = kNoLink;
  std::uint32_t generation = 0;
  std::uint32_t max_frame_bytes = 0;
  StreamLife life = StreamLife::kFree;
  CloseReason close_reason = CloseReason::kAsked;
  std::int32_t close_error = 0;
  DropReason drop_reason = DropReason::kLinkGone;  // of what is queued when it closes
  bool may_read = false;         // its link is greeting or up
  bool doomed = false;           // its end came: closes when what was received is taken
  bool keeps_reason = false;     // drains because of close_reason, not because it was asked to close
  bool owes_closed = false;      // events that found the ring full
  bool owes_released = false;
  std::uint64_t deadline_ns = 0; // kDraining, kLingering

  // Receiving.
  bool recv_armed = false;
  bool recv_cancelled = false;   // ... and its cancellation is under way
  bool paused = false;
  bool held = false;             // paused for the node's budget or a control frame: even what was received waits
  bool control_waits = false;    // its next frame is one for the control thread, which has no room for it
  std::uint64_t control_until_ns = 0;  // its own frames for the control thread wait until then
  std::uint32_t received_head = kNoPiece;
  std::uint32_t received_tail = kNoPiece;
  std::uint32_t received_count = 0;
  DeframeState deframe;
  rte_mbuf* partial = nullptr;       // the frame that has begun; its first 4 bytes are the prefix
  rte_mbuf* partial_last = nullptr;  // its last segment
  std::uint32_t partial_bytes = 0;
  std::uint64_t partial_since_ns = 0;

  // Sending.
  bool send_busy = false;
  bool send_zero_copy = false;   // the send under way
  bool zero_copy = false;        // may be tried on this socket
  std::uint32_t head_offset = 0; // bytes of the first queued frame that are gone
  FrameQueue queue;
  std::uint64_t queued_bytes = 0;
  std::uint32_t queued_frames = 0;
  std::uint64_t sent_total = 0;
  ZeroCopyBatches batches;
  FrameQueue zero_copy_frames;   // sent, and still referenced by the kernel

  // Pressure.
  OverflowPolicy overflow = OverflowPolicy::kStall;
  std::uint64_t queue_limit = kLinkQueueBytes;
  bool congested = false;        // above high water (also while stalled)
  bool stalled = false;
  std::int64_t progress = 0;         // bytes that the peer took
  std::uint64_t progress_ns = 0;     // when that last grew, by the engine's watched_ns_
  std::int64_t window_progress = 0;  // at the start of the present window
  std::uint64_t window_ns = 0;       // likewise
  std::uint64_t stalled_ns = 0;

  StreamNode ready;      // has received pieces
  StreamNode dirty;      // has frames to send and no send under way
  StreamNode arming;     // wants its receive armed
  StreamNode partials;   // a frame has begun: oldest first
  StreamNode pressed;    // congested or stalled
  StreamNode waiting;    // paused
  EdgeStream* edge = nullptr;  // an upstream application or node speaks on it; null: native

  StreamNode edges;      // has `edge`
  StreamNode leaving;    // draining, lingering, or owes events
  StreamNode ending;     // its last frames have left poll(): to be closed by the next
};

// A first-in first-out list through one of the nodes of a stream, with removal from the middle.
template <StreamNode Stream::*kNode>
class StreamList {
 public:
  [[nodiscard]] bool empty() const { return head_ == kNoLink; }
  [[nodiscard]] LinkIndex front() const { return head_; }
  [[nodiscard]] static LinkIndex after(const Stream& stream) { return (stream.*kNode).after; }

  void push(Stream* streams, LinkIndex at) {
    StreamNode& node = streams[at].*kNode;
    if (node.listed) {
      return;
    }
    node = {.before = tail_, .after = kNoLink, .listed = true};
    (tail_ == kNoLink ? head_ : (streams[tail_].*kNode).after) = at;
    tail_ = at;
  }
  void remove(Stream* streams, LinkIndex at) {
    StreamNode& node = streams[at].*kNode;
    if (!node.listed) {
      return;
    }
    (node.before == kNoLink ? head_ : (streams[node.before].*kNode).after) = node.after;
    (node.after == kNoLink ? tail_ : (streams[node.after].*kNode).before) = node.before;
    node = {};
  }

 private:
  LinkIndex head_ = kNoLink;
  LinkIndex tail_ = kNoLink;
};

// For whom a paused stream waits: one bit a link; bit 0 is the node's budget.
struct Blockers {
  static constexpr std::uint32_t kWords = kMaxLinks / 64;
  std::array<std::uint64_t, kWords / 64> summary;
  std::array<std::uint64_t, kWords> word;

  void set(LinkIndex link) {
    word[link / 64] |= std::uint64_t{1} << (link % 64);
    summary[link / 4096] |= std::uint64_t{1} << (link / 64 % 64);
  }
  // Clears the bits for which `gone(link)`; true when none is left.
  template <class Gone>
  bool clear_if(Gone gone) {
    bool none = true;
    for (std::uint32_t s = 0; s < summary.size(); ++s) {
      for (std::uint64_t words = summary[s]; words != 0; words &= words - 1) {
        const std::uint32_t w = s * 64 + static_cast<std::uint32_t>(__builtin_ctzll(words));
        for (std::uint64_t bits = word[w]; bits != 0; bits &= bits - 1) {
          const auto bit = static_cast<std::uint32_t>(__builtin_ctzll(bits));
          if (gone(static_cast<LinkIndex>(w * 64 + bit))) {
            word[w] &= ~(std::uint64_t{1} << bit);
          }
        }
        if (word[w] == 0) {
          summary[s] &= ~(std::uint64_t{1} << (w % 64));
        } else {
          none = false;
        }
      }
    }
    return none;
  }
};
static_assert(Blockers::kWords % 64 == 0);

}  // namespace slipway
