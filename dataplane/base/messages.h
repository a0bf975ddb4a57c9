#pragma once
// What the control thread and the workers say to each other over MailRings. Records are plain structs, copied as
// they lie; some carry bytes behind the struct. Pointers that travel here change owner with the record.

#include <array>
#include <cstdint>

#include "base/link.h"
#include "frame/name.h"

namespace slipway {

class RouteTable;
struct EdgeOpen;  // port/edge_open.h
struct EdgeKey;

// --- control thread -> worker -----------------------------------------------------------------------
// Commands are applied in order, between bursts. Each is numbered from 1 by its position; a worker publishes the
// number of the last one applied (Worker::applied), by which the control thread knows that a change is in force.
enum class Command : std::uint16_t {
  kRoute,         // RouteUpdate (route/route_table.h)
  kSwapTable,     // SwapTable
  kLink,          // LinkRecord: add or change. Removal: state kFree (the generation names which)
  kOpenStream,    // OpenStream, before the kLink record that it belongs to: owner only
  kOpenDatagram,  // OpenDatagram: owner only
  kEdgeKey,       // GiveEdgeKey, before the kLink record that takes an edge up: owner only
  kClosePort,     // ClosePort: a datagram socket goes away
  kCloseLink,     // CloseLink: owner only; drain what is queued, then close the socket
  kInjectFrame,   // InjectFrame + frame bytes (header and body)
  kInjectPublish, // InjectPublish + a piece of a publish: of an application inside the node; forwarded when it is whole
  kInjectPacket,  // InjectPacket + an Ethernet frame, sent as it is
  kInjectDatagram,// InjectDatagram + UDP payload (shim and frame), from a datagram socket to an address
  kTrace,         // TraceFilter: record the next `count` frames that match
  kCapture,       // TraceFilter: copy frames that match to the control thread until `count` are gone
  kSnapshot,      // Snapshot: copy the counters at this loop's end
  kDrain,         // stop reading; go on sending what is queued
  kStop,          // leave the loop
};

struct SwapTable {
  RouteTable* table;  // the old one comes back as Event::kTableRetired
};
struct OpenStream {
  LinkIndex link;
  std::uint32_t generation;
  std::int32_t fd;              // connected, non-blocking; owned by the worker from now on
  std::uint32_t max_frame_bytes;
  EdgeOpen* edge = nullptr;     // how an upstream application or node is spoken to; null: native. Changes owner
};
struct GiveEdgeKey {
  LinkIndex link;
  std::uint32_t generation;
  EdgeKey* key;                 // changes owner
};
struct OpenDatagram {
  std::uint16_t port;
  std::int32_t fd;              // bound, non-blocking; owned by the worker from now on
};
struct ClosePort {
  std::uint16_t port;
};
struct CloseLink {
  LinkIndex link;
  std::uint32_t generation;
  std::uint32_t drain_ms;       // 0: at once
  std::uint8_t edge_status = 0; // of an edge: the gRPC status that ends its stream
  std::uint8_t edge_text = 0;   // ... and its message: EdgeCloseText (port/edge_open.h)
};
struct InjectFrame {
  LinkIndex link;
  std::uint32_t generation;
};
struct InjectPublish {
  LinkIndex link;               // of the application: kControl
  std::uint32_t generation;
  std::uint32_t offset;         // pieces come in order, those of one frame without another's between them; the first has
                                // the whole frame header
  std::uint32_t frame_bytes;    // of the whole frame
};
struct InjectPacket {
  std::uint16_t port;
};
struct InjectDatagram {
  std::uint16_t port;
  IpEndpoint to;
};
struct TraceFilter {
  std::uint32_t count = 0;        // 0: off
  std::uint32_t snap_bytes = 256; // of each frame
  LinkIndex link = kNoLink;       // kNoLink: any
  std::uint8_t kind = 0;          // 0: any
  bool match_name = false;        // destination's three components, and its id unless null
  bool drops_only = false;
  Name destination;
};
struct Snapshot {
  std::uint32_t request;          // comes back in Event::kSnapshotDone
};

// --- worker -> control thread -----------------------------------------------------------------------
enum class Event : std::uint16_t {
  kPuntedFrame,     // PuntedFrame + frame bytes
  kLocalFrame,      // PuntedFrame + a publish for the application inside the node whose link it is
  kPuntedPacket,    // PuntedPacket + Ethernet frame: ARP, neighbour discovery, and what resolves next hops
  kHello,           // Hello + frame bytes: a link frame in a datagram with link id 0
  kLinkClosed,      // LinkClosed
  kEdgeOpen,        // EdgeOpened: the stream of an edge is open, the negotiation may begin
  kLinkReleased,    // LinkReleased: nothing of this link is left in the worker; the index may be used again
  kStalled,         // LinkStalled
  kUnstalled,       // LinkStalled
  kNoRoute,         // NoRoute: a publish from a native link that nothing matched (rate-limited by the worker)
  kTraced,          // Traced + frame header
  kCaptured,        // Captured + the first bytes of the frame
  kSnapshotDone,    // Snapshot; the copy is in Worker::snapshot()
  kTableRetired,    // SwapTable: the caller of kSwapTable frees it
};

struct PuntedFrame {
  LinkIndex link;
  std::uint32_t generation;
};
struct PuntedPacket {
  std::uint16_t port;
};
struct Hello {
  std::uint16_t port;
  std::uint8_t transport;         // LinkTransport: kDatagram or kEthernet
  std::uint8_t worker;
  IpEndpoint from;
  IpEndpoint to;                  // our address that it was sent to
  std::array<std::uint8_t, 6> from_mac;  // kEthernet
};
enum class CloseReason : std::uint8_t { kPeerClosed, kError, kStreamLength, kPartialTimeout, kStalled, kAsked, kEdge };
struct LinkClosed {
  LinkIndex link;
  std::uint32_t generation;
  CloseReason reason;
  std::int32_t error;             // errno where there is one
  // kEdge: why, in a sentence, lies behind the struct (at most kMaxEdgeTextBytes)
};
struct EdgeOpened {
  LinkIndex link;
  std::uint32_t generation;
  bool resumed;                   // the TLS session was
  std::array<char, 16> tls_version;   // empty: no TLS. All ended by a zero byte
  std::array<char, 48> tls_cipher;
  std::array<char, 160> tls_subject;  // of the peer's certificate
  std::array<char, 160> subject;      // of its credentials
};
struct LinkReleased {
  LinkIndex link;
  std::uint32_t generation;
};
struct LinkStalled {
  LinkIndex link;
  std::uint32_t generation;
  std::uint64_t queued_bytes;
};
struct NoRoute {
  LinkIndex link;
  std::uint32_t generation;
  std::uint32_t session_id;
  std::uint32_t message_id;
  std::uint8_t drop_reason;       // kNoRoute, kOnlyIngress, kTooBigForLink, kHopLimit
  std::uint32_t more;             // frames of this link dropped likewise since the last such event: the rate is limited
  Name destination;
  Name source;
};
// What each step of forwarding found; the control thread puts it into words.
struct Traced {
  std::uint64_t time_ns;          // wall clock
  LinkIndex from;
  std::uint32_t frame_bytes;
  std::array<std::uint32_t, kLinkClasses> candidates;  // links that matched, by class
  LinkIndex chosen;               // the one receiver of an anycast or unicast; kNoLink for all
  std::uint32_t copies;
  bool punted;
  std::uint8_t drop_reason;       // 0xFF: not dropped
};
struct Captured {
  std::uint64_t time_ns;
  LinkIndex link;
  std::uint32_t frame_bytes;      // before cutting to snap_bytes
  std::uint8_t drop_reason;       // 0xFF: not dropped
};

}  // namespace slipway
