#pragma once
// The parts of the socket engine, for its own .cc files:
//   socket_engine.cc            making, starting, the public calls
//   socket_ring.cc              the ring: submitting, reaping, sleeping
//   socket_receive_datapath.cc  streams in: pieces to frames
//   socket_send_datapath.cc     streams out: queues to gathered sends
//   socket_pressure.cc          congestion, stalls, pauses, deadlines
//   socket_close.cc             opening and closing of streams
//   socket_edge.cc, socket_edge_datapath.cc  upstream applications and nodes on streams
//   socket_datagram_datapath.cc datagrams in and out; socket_datagram.cc their sockets

#include <liburing.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <array>
#include <cassert>
#include <memory>
#include <span>
#include <thread>

#include <rte_mbuf.h>

#include "port/join_datapath.h"
#include "frame/shim.h"
#include "edge/transport_counters.h"
#include "edge/transport_events.h"
#include "port/socket_engine.h"
#include "port/socket_gather.h"
#include "port/socket_slab.h"
#include "port/socket_stream.h"

namespace slipway {

class Pieces;
struct EdgeWorker;  // port/socket_edge.h
struct EdgeOutgoing;
struct EncodedMessage;
class HeaderMac;
struct MacRules;

// An array that is zero until touched, and resident as far as touched.
template <class T>
class LazyArray {
 public:
  explicit LazyArray(std::size_t count) : count_(count), at_(static_cast<T*>(map(count * sizeof(T)))) {}
  ~LazyArray() {
    if (at_ != nullptr) {
      munmap(at_, count_ * sizeof(T));
    }
  }
  LazyArray(const LazyArray&) = delete;
  LazyArray& operator=(const LazyArray&) = delete;
  [[nodiscard]] T* data() { return at_; }
  [[nodiscard]] T& operator[](std::size_t i) { return at_[i]; }
  [[nodiscard]] const T& operator[](std::size_t i) const { return at_[i]; }

 private:
  static void* map(std::size_t bytes) {
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? nullptr : at;
  }
  std::size_t count_;
  T* at_;
};

// Which operation a completion belongs to: its kind, the link or slot, and for zero-copy sends the batch.
enum class SocketOp : std::uint8_t { kRecv = 1, kSend, kSendZc, kCancel, kWake, kDatagramRecv, kDatagramSend };
constexpr std::uint64_t make_user_data(SocketOp op, std::uint32_t index, std::uint32_t batch = 0) {
  return static_cast<std::uint64_t>(op) << 56 | std::uint64_t{batch} << 32 | index;
}

// A completion, copied: handlers may submit, and so reap.
struct Completion {
  std::uint64_t user_data;
  std::int32_t res;
  std::uint32_t flags;
};

inline constexpr std::uint32_t kRingEntries = 1024;
inline constexpr std::uint32_t kCompletionEntries = 8192;
inline constexpr std::uint32_t kBufferRingEntries = 1024;     // most pieces lent to the kernel
inline constexpr std::uint32_t kMinLent = 10;                 // 320 KiB: what one system call may receive; they stay in a cache of the processor
inline constexpr std::uint32_t kGatherArena = 16 * kMaxGather; // vectors between two submissions
inline constexpr std::uint32_t kMessageArena = kRingEntries;
inline constexpr std::uint32_t kQueueChunks = 16384;          // x 63 frames
inline constexpr std::uint32_t kMbufStash = 256;
inline constexpr std::uint32_t kMbufsPerPiece = 32;           // more than one piece can need when all of it is copied
// A piece with less than this is copied: it would pin too much. In a fuller one small frames are referenced too: they
// lie one behind the other, and go out as one vector. Measured, a copy at 64 B (bench/sockets): 115 ns at 1:1 and 50 to
// 60 at 1:16 so, against 166 and 88 with every small frame copied and a vector each. A contiguous copy for each receiver
// instead of vectors was within 10 % of the vectors.
inline constexpr std::uint32_t kDenseBytes = kSlabPieceBytes / 4;
inline constexpr std::uint32_t kReferenceBytes = 1024;        // a part of a spanning frame below this is copied
inline constexpr std::size_t kSendNowBytes = 64u << 10;       // a queue this long is sent though more frames are at hand
inline constexpr std::size_t kZeroCopyBytes = 32u << 10;      // least bytes of a zero-copy send; loopback copies, so not measured on a NIC
inline constexpr std::uint64_t kTickNs = 10'000'000;          // deadlines and stalls are looked at so often
inline constexpr std::uint64_t kLingerNs = 200'000'000;       // for the peer's end after our last byte, at least
inline constexpr std::uint64_t kRetryNs = 1'000'000;          // out of buffers or pieces: look again
inline constexpr std::size_t kEventReserve = kEventRingBytes / 4;  // kept free for events that must not be lost
static_assert(kMbufsPerPiece * kMbufDataBytes > kSlabPieceBytes + 2 * kMbufDataBytes);

inline constexpr std::uint32_t kDatagramBuffers = 16;
inline constexpr std::size_t kDatagramBufferBytes = 68u << 10;  // a whole GRO batch with its address and control data
inline constexpr std::uint32_t kDatagramQueue = 4096;           // frames that wait for one datagram socket
inline constexpr std::uint32_t kDatagramSlots = 256;            // sends in flight, of all datagram sockets
inline constexpr std::uint32_t kSegmentsPerSend = 64;           // UDP_MAX_SEGMENTS of old kernels
inline constexpr std::size_t kSegmentedBytes = 65'000;          // of one segmented send
inline constexpr std::uint32_t kDatagramGroup = 1;              // buffer group; streams are 0
inline constexpr std::size_t kDatagramNameBytes = 32;            // a sockaddr_in6, rounded up: control data lies behind it, aligned
inline constexpr std::size_t kDatagramControlBytes = 128;        // segment size and our address, of both families
inline constexpr std::uint32_t kMaxVectors = 1024;              // of one send: IOV_MAX
inline constexpr std::uint32_t kMbufsPerDatagram = (64u << 10) / kMbufDataBytes + 1;
inline constexpr std::uint32_t kNoSend = 0xFFFFFFFF;
static_assert(kMbufStash > kMbufsPerPiece + kMbufStash / 2 + kMbufsPerDatagram);

struct QueuedDatagram {
  rte_mbuf* frame;
  LinkIndex link;
};

// The vectors of one datagram send.
struct DatagramGather {
  iovec* vectors;
  std::uint32_t used = 0;
  std::size_t bytes = 0;

  void add(std::byte* at, std::size_t length) {
    vectors[used++] = {.iov_base = at, .iov_len = length};
    bytes += length;
  }
  // `length` bytes of a frame from `offset` on.
  void add_bytes(rte_mbuf* segment, std::size_t offset, std::size_t length) {
    while (offset >= segment->data_len) {
      offset -= segment->data_len;
      segment = segment->next;
    }
    while (length > 0) {
      const std::size_t part = length < segment->data_len - offset ? length : segment->data_len - offset;
      add(rte_pktmbuf_mtod_offset(segment, std::byte*, offset), part);
      length -= part;
      offset = 0;
      segment = segment->next;
    }
  }
};

struct DatagramPort {
  int fd = -1;
  bool open = false;
  bool recv_armed = false;
  bool segment = false;   // UDP_SEGMENT works on it
  bool ipv6 = false;      // an AF_INET6 socket
  IpEndpoint local;
  std::uint32_t sends = 0;       // in flight
  std::uint32_t queue_begin = 0; // positions only grow
  std::uint32_t queue_end = 0;
  std::uint32_t piece_offset = 0;  // of the first queued frame, when it is being cut: what has been sent
  std::uint16_t frame_number = 0;  // of that frame
};

// One sendmsg on a datagram socket: everything that the kernel may read until it completes.
struct DatagramSend {
  msghdr message;
  sockaddr_storage address;
  alignas(cmsghdr) std::byte control[64];
  std::array<std::array<std::byte, kShimBytes>, kSegmentsPerSend> shims;
  std::array<rte_mbuf*, kSegmentsPerSend> frames;  // one reference each
  std::uint32_t frame_count;
  std::uint32_t whole_frames;   // of them, those that end with this send: counted when it completes
  std::uint64_t whole_bytes;
  std::uint32_t packets;
  std::uint32_t fragments;
  std::uint16_t port;
  LinkIndex link;
  std::uint32_t next_free;
};

struct ReceivedDatagrams {  // one filled buffer
  std::uint16_t buffer;
  std::uint16_t port;
  std::uint32_t bytes;      // of the buffer, with headers
  std::uint32_t taken;      // of the payload
};

class SocketEngine::Impl {
 public:
  explicit Impl(const SocketEngineOptions& options);
  ~Impl();
  std::expected<void, std::string> init();
  std::expected<void, std::string> start();

  // --- socket_ring.cc
  void assert_owner() const { assert(owner_ == std::this_thread::get_id()); }
  [[nodiscard]] io_uring_sqe* get_sqe();
  void submit();
  void submit_and_reap_ready();
  // What comes while the few messages of a gathering are dealt with is for the next one.
  [[nodiscard]] bool leaves_rest() const {
    return gathered_ && counters_.frames_in.get() - rest_frames_ < RestPolicy::kGatherEvents && now_ns_ - rest_ns_ < 3 * rest_.gather_ns();
  }
  void reap();
  void on_completion(const Completion& cqe);
  void lend_pieces();
  void cancel(std::uint64_t user_data);
  bool wait(std::uint64_t timeout_ns);
  bool spin();
  void sleep(std::uint64_t timeout_ns, unsigned completions);
  [[nodiscard]] bool post_event(Event event, std::span<const std::byte> head, std::span<const std::byte> tail = {}, bool important = true);
  std::expected<void, std::string> register_buffers(io_uring_buf_ring*& ring, std::uint32_t entries, std::uint16_t group);

  // --- socket_receive_datapath.cc
  std::uint32_t poll(std::uint64_t now_ns, std::span<rte_mbuf*> out);
  void on_recv(Stream& stream, const Completion& cqe);
  void arm_streams();
  bool refill_mbufs();
  std::uint32_t receive_streams(std::span<rte_mbuf*> out);
  enum class PieceEnd : std::uint8_t { kTaken, kOutFull, kNoBuffer, kNoBudget, kControlWaits, kBad };
  PieceEnd receive_piece(Stream& stream, SlabPiece& piece, std::uint32_t number, std::span<rte_mbuf*> out, std::uint32_t& count);
  rte_mbuf* whole_frame(SlabPiece& piece, std::uint32_t number, std::byte* at, std::uint32_t bytes, std::uint32_t& references);
  void add_to_partial(Stream& stream, SlabPiece& piece, std::uint32_t number, std::byte* at, const DeframeStep& step, std::uint32_t& references);
  void refer(rte_mbuf* mbuf, SlabPiece& piece, std::uint32_t number, std::byte* at, std::uint32_t bytes);
  void append_copy(rte_mbuf* first, rte_mbuf*& last, const std::byte* at, std::uint32_t bytes);
  [[nodiscard]] rte_mbuf* take_mbuf() { return stash_count_ > 0 ? stash_[--stash_count_] : rte_pktmbuf_alloc(options_.pool); }
  rte_mbuf* finish_partial(Stream& stream);
  void free_partial(Stream& stream);
  void count_broken_frame(const Stream& stream, DropReason reason);
  void drop_received(Stream& stream);
  void pop_received(Stream& stream);
  void hold_received(Stream& stream);
  void unhold_received(Stream& stream);
  [[nodiscard]] static bool next_is_control(const Stream& stream, const std::byte* at, std::uint32_t bytes);

  // --- socket_send_datapath.cc
  void send(const LinkRecord& record, rte_mbuf* frame);
  void drop_copy(LinkIndex link, rte_mbuf* frame, DropReason reason);
  void flush();
  void start_send(Stream& stream);
  void on_send(Stream& stream, const Completion& cqe);
  void on_send_zc(Stream& stream, const Completion& cqe, std::uint32_t batch);
  void advance(Stream& stream, std::uint64_t bytes);
  void hold_for_zero_copy(Stream& stream, rte_mbuf* frame);
  void release_batches(Stream& stream);
  struct Run {  // sent frames of one slab piece, whose references are taken away at once
    SlabPiece* piece = nullptr;
    std::int16_t count = 0;
  };
  void release_sent(rte_mbuf* frame, Run& run);
  void end_run(Run& run);
  void drop_queue(Stream& stream);
  void count_held(LinkIndex link, std::int64_t frames, std::int64_t bytes);

  // --- socket_pressure.cc
  void pause(LinkIndex from, LinkIndex receiver);
  void pause_stream(Stream& stream, LinkIndex blocker);
  void stop_for_a_while(Stream& stream);
  void wait_for_control(Stream& stream);
  void hold_control(bool on);
  [[nodiscard]] bool holds_control(const Stream& stream) const {
    return !stream.doomed && (hold_control_ || now_ns_ < stream.control_until_ns || (stream.congested && !stream.stalled));
  }
  void resume_streams();
  void press(Stream& stream);
  void relieve(Stream& stream);
  [[nodiscard]] std::int64_t peer_progress(const Stream& stream);
  void check_pressed(std::uint64_t now_ns);
  void stall(Stream& stream, std::uint64_t now_ns);
  void tick(std::uint64_t now_ns);
  [[nodiscard]] bool has_deadlines() const;
  [[nodiscard]] std::uint64_t low_water(const Stream& s) const { return s.queue_limit * 3 / 8; }
  [[nodiscard]] bool above_high_water(const Stream& s) const {
    return s.queued_bytes > s.queue_limit * 3 / 4 || s.queued_frames > queue_frames_ * 3 / 4;
  }
  [[nodiscard]] bool below_low_water(const Stream& s) const {
    return s.queued_bytes <= low_water(s) && s.queued_frames <= queue_frames_ * 3 / 8;
  }

  // --- socket_close.cc
  void open_stream(const OpenStream& open);
  void set_stream(const LinkRecord& record);
  void close_link(const CloseLink& close);
  void want_read(Stream& stream);
  void stop_receiving(Stream& stream);
  void doom(Stream& stream, CloseReason reason, std::int32_t error);
  void shut(Stream& stream, CloseReason reason, std::int32_t error);
  void drained(Stream& stream);
  void try_finish(Stream& stream);
  void post_owed(Stream& stream);
  void check_leaving(std::uint64_t now_ns);
  void stop_reading();
  bool close_all(std::uint32_t timeout_ms);

  // --- socket_edge.cc
  [[nodiscard]] TransportTime edge_time(const EdgeStream& edge) const;
  void open_edge(Stream& stream, EdgeOpen* given);
  void give_edge_key(const GiveEdgeKey& give);
  void edge_up(Stream& stream);
  void tell_edge_open(const Stream& stream);
  void end_edge(Stream& stream, CloseReason reason, std::string_view text);
  void refuse_edge(Stream& stream, std::string_view text);
  void forget_edge_input(EdgeStream& edge);
  void destroy_edge(Stream& stream);
  void tick_edges(std::uint64_t now_ns);
  void acknowledge_soon(const Stream& stream);
  void acknowledge_edges();

  // --- socket_edge_datapath.cc
  PieceEnd receive_edge(Stream& stream, SlabPiece& piece, std::uint32_t number, std::span<rte_mbuf*> out, std::uint32_t& count);
  void take_edge_events_aside(Stream& stream);
  PieceEnd take_edge_events(Stream& stream, std::span<rte_mbuf*> out, std::uint32_t& count);
  PieceEnd take_edge_message(Stream& stream, const TransportEvent& event, std::span<rte_mbuf*> out, std::uint32_t& count);
  void add_edge_part(Stream& stream, const TransportEvent& event);
  void refer_to_piece(rte_mbuf* mbuf, std::span<const std::byte> bytes);
  [[nodiscard]] MacRules edge_rules(const EdgeStream& edge) const;
  void read_edge_ahead(EdgeStream& edge, const Pieces& next);
  void read_edge_message(EdgeStream& edge, const MacRules& rules, const Pieces& bytes);
  void compare_edge_macs();
  PieceEnd greeting_of_edge(Stream& stream, const Pieces& message, rte_mbuf*& frame);
  PieceEnd frame_of_edge_message(Stream& stream, const Pieces& message, bool whole, rte_mbuf*& frame, std::uint64_t& serial);
  bool add_frame_body(Stream& stream, std::span<const std::span<const std::byte>> pieces, bool whole, rte_mbuf* frame);
  void start_edge_send(Stream& stream);
  [[nodiscard]] bool edge_is_idle(const Stream& stream) const;
  void count_edge_end(const Stream& stream, TransportFault fault);
  bool write_edge_frames(Stream& stream);
  bool send_as_kept(EdgeStream& edge, const HeaderMac& mac, EncodedMessage& kept, EdgeOutgoing& out, std::span<std::byte> scratch,
                    std::span<std::span<const std::byte>> room);
  void encode_edge_frame(EdgeStream& edge, EdgeOutgoing& out, std::span<std::span<const std::byte>> room);
  std::uint32_t frame_like_last(const EdgeStream& edge, std::uint32_t slot, std::span<const std::byte> message, std::byte* to);
  void remember_frame(const EdgeStream& edge, std::uint32_t slot, std::size_t message_bytes, std::span<const std::byte> frame);
  bool give_edge_frame(Stream& stream, const EdgeOutgoing& out);
  void settle_edge_copies(Stream& stream, std::span<const EdgeOutgoing> sent);
  void settle_edge_frames(Stream& stream, std::uint32_t frames, std::uint64_t frame_bytes);
  void count_edge_sent(const Stream& stream, std::uint64_t frames, std::uint64_t frame_bytes);
  void edge_released(EdgeStream& edge, rte_mbuf* scratch);
  void on_edge_send(Stream& stream, const Completion& cqe);

  // --- socket_datagram.cc, socket_datagram_datapath.cc
  void open_datagram(const OpenDatagram& open);
  void close_port(std::uint16_t port);
  void set_datagram(const LinkRecord& record);
  void release_datagram(LinkIndex link);
  void inject_datagram(const InjectDatagram& inject, std::span<const std::byte> payload);
  void arm_datagram(std::uint16_t port);
  void on_datagram_recv(std::uint16_t port, const Completion& cqe);
  std::uint32_t receive_datagrams(std::span<rte_mbuf*> out);
  rte_mbuf* receive_datagram(std::uint16_t port, const IpEndpoint& from, const IpEndpoint* to, std::span<const std::byte> payload);
  rte_mbuf* copy_datagram(std::span<const std::byte> bytes);
  void give_datagram_buffer(std::uint16_t buffer);
  void arm_datagrams();
  void datagram_done(LinkIndex link);
  void post_owed_datagrams();
  bool refill_for_datagram();
  void punt_hello(std::uint16_t port, const IpEndpoint& from, const IpEndpoint* to, std::span<const std::byte> frame);
  void gather_pieces(DatagramPort& port, DatagramSend& send, const LinkRecord& link, rte_mbuf* frame, DatagramGather& gather);
  void gather_wholes(DatagramPort& port, std::uint16_t number, DatagramSend& send, const LinkRecord& link, DatagramGather& gather);
  static void add_shim(DatagramSend& send, DatagramGather& gather, const Shim& shim);
  void send_datagram(const LinkRecord& record, rte_mbuf* frame);
  void flush_datagrams();
  bool start_datagram_send(DatagramPort& port, std::uint16_t number);
  void on_datagram_send(std::uint32_t slot, const Completion& cqe);
  void drop_datagram_queue(DatagramPort& port, DropReason reason);
  void join_accounting();

  SocketEngineOptions options_;
  SocketFeatures features_;
  WorkerCounters& counters_;
  LinkCounters* const link_counters_;
  CongestionTable& congestion_;
  MailRing& events_;
  BudgetShare budget_;
  std::thread::id owner_;

  io_uring ring_{};
  bool ring_open_ = false;
  bool wake_armed_ = false;
  bool woken_ = false;
  std::uint64_t operations_ = 0;  // under way, without the wake poll
  std::uint64_t now_ns_ = 0;
  std::uint64_t next_tick_ns_ = 0;
  std::uint64_t ticked_ns_ = 0;   // when the last tick was
  std::uint64_t watched_ns_ = 0;  // a clock that runs while this thread does: for stalls

  // Receiving.
  std::unique_ptr<SocketSlab> slab_;
  io_uring_buf_ring* piece_ring_ = nullptr;
  std::uint32_t lent_ = 0;
  std::uint32_t backlog_ = 0;  // pieces received and not yet taken, without those of streams that the budget holds
  std::uint32_t open_streams_ = 0;
  std::array<rte_mbuf*, kMbufStash> stash_{};
  std::uint32_t stash_count_ = 0;
  bool out_of_mbufs_ = false;
  bool reading_stopped_ = false;

  // Sending.
  QueueChunkPool chunks_{kQueueChunks};
  std::uint32_t queue_frames_ = 0;
  LazyArray<iovec> gather_{kGatherArena};
  std::uint32_t gather_used_ = 0;
  LazyArray<msghdr> messages_{kMessageArena};
  std::uint32_t messages_used_ = 0;
  std::uint64_t held_ = 0;

  // Pressure.
  std::uint64_t cleared_seen_ = 0;
  bool uncongested_ = false;
  bool hold_control_ = false;

  LazyArray<Stream> streams_{kMaxLinks};
  LazyArray<Blockers> blockers_{kMaxLinks};
  StreamList<&Stream::ready> ready_;
  StreamList<&Stream::dirty> dirty_;
  StreamList<&Stream::arming> arming_;
  StreamList<&Stream::partials> partials_;
  StreamList<&Stream::pressed> pressed_;
  StreamList<&Stream::waiting> waiting_;
  StreamList<&Stream::leaving> leaving_;
  StreamList<&Stream::ending> ending_;

  // Edges.
  std::unique_ptr<EdgeWorker> edges_;   // made with the first one
  StreamList<&Stream::edges> edge_streams_;
  std::uint64_t next_edge_tick_ns_ = 0;
  RestPolicy rest_;
  bool gathered_ = false;          // in the last rest
  std::uint64_t rest_ns_ = 0;      // when it began
  std::uint64_t rest_frames_ = 0;  // received before it
  std::uint64_t spun_cycles_ = 0;
  struct AckDue {
    LinkIndex link;
    std::uint32_t generation;
  };
  std::array<AckDue, 64> ack_due_;
  std::uint32_t acks_due_ = 0;

  // Datagrams.
  std::array<DatagramPort, kMaxPorts> ports_;
  LazyArray<QueuedDatagram> datagram_queue_{std::size_t{kMaxPorts} * kDatagramQueue};
  LazyArray<LinkRecord> datagram_links_{kMaxLinks};
  LazyArray<std::uint32_t> datagram_waiting_{kMaxLinks};  // frames queued or in flight, by link
  LazyArray<bool> datagram_leaving_{kMaxLinks};           // released when that is zero
  LazyArray<DatagramSend> sends_{kDatagramSlots};
  std::uint32_t free_send_ = kNoSend;
  bool datagrams_dirty_ = false;
  bool datagrams_unarmed_ = false;       // some socket has no receive under way
  bool datagrams_failed_ = false;        // ... because of an error: tried again at the next tick
  bool owed_datagram_releases_ = false;  // events that found the ring full
  io_uring_buf_ring* datagram_ring_ = nullptr;
  LazyArray<std::byte> datagram_memory_{kDatagramBuffers * kDatagramBufferBytes};
  std::array<ReceivedDatagrams, kDatagramBuffers> received_;
  std::uint32_t received_begin_ = 0;
  std::uint32_t received_end_ = 0;
  msghdr recv_template_{};
  std::uint64_t datagram_counter_ = 0;       // Shim::counter
  std::uint16_t datagram_frame_number_ = 0;  // Shim::frame_number
  std::unique_ptr<MbufJoiner> joiner_;
  std::size_t joined_bytes_ = 0;
};

}  // namespace slipway
