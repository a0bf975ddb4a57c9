#include "edge/transport_memory.h"

#include <openssl/crypto.h>

#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <limits>

// Under a sanitizer each block comes from and goes to the heap, so that its use after release is seen.
#if defined(__SANITIZE_ADDRESS__)
#define SLIPWAY_KEEP_FREE_BLOCKS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLIPWAY_KEEP_FREE_BLOCKS 0
#endif
#endif
#ifndef SLIPWAY_KEEP_FREE_BLOCKS
#define SLIPWAY_KEEP_FREE_BLOCKS 1
#endif

namespace slipway {

bool MemoryAccount::take(std::size_t bytes) {
  const std::size_t before = used_.fetch_add(bytes, std::memory_order_relaxed);
  if (before + bytes > limit_) {
    used_.fetch_sub(bytes, std::memory_order_relaxed);
    refusals_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  references_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void MemoryAccount::give(std::size_t bytes) {
  used_.fetch_sub(bytes, std::memory_order_relaxed);
  unref(1);
}

void MemoryAccount::unref(std::uint64_t count) {
  if (references_.fetch_sub(count, std::memory_order_acq_rel) == count) {
    delete this;
  }
}

TransportMemory::TransportMemory(std::size_t limit_bytes)
    : account_(MemoryAccount::create(limit_bytes)),
      nghttp2_{.mem_user_data = this,
               .malloc = [](std::size_t bytes, void* self) { return static_cast<TransportMemory*>(self)->allocate(bytes); },
               .free = [](void* memory, void* self) { static_cast<TransportMemory*>(self)->release(memory); },
               .calloc =
                   [](std::size_t count, std::size_t bytes, void* self) {
                     return static_cast<TransportMemory*>(self)->allocate_zeroed(count, bytes);
                   },
               .realloc =
                   [](void* memory, std::size_t bytes, void* self) {
                     return static_cast<TransportMemory*>(self)->reallocate(memory, bytes);
                   }} {}

TransportMemory::~TransportMemory() {
  for (Header* list : free_) {
    while (list != nullptr) {
      Header* next = list->next;
      std::free(list);
      list = next;
    }
  }
  account_->drop_owner();
}

void* TransportMemory::allocate(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::uint32_t>::max() - sizeof(Header)) {
    return nullptr;
  }
  const std::size_t whole = bytes + sizeof(Header);
  const bool large = whole > (std::size_t{1} << kLargestShift) || SLIPWAY_KEEP_FREE_BLOCKS == 0;
  std::uint32_t size_class = kNoClass;
  std::size_t size = whole;
  if (!large && whole <= (std::size_t{1} << kSmallestShift)) {
    size_class = 0;
    size = std::size_t{1} << kSmallestShift;
  } else if (!large) {
    const auto shift = static_cast<std::size_t>(std::bit_width(whole - 1)) - 1;
    const std::size_t quarter = (whole - 1 - (std::size_t{1} << shift)) >> (shift - 2);
    size_class = static_cast<std::uint32_t>(1 + (shift - kSmallestShift) * 4 + quarter);
    size = (std::size_t{1} << shift) + (quarter + 1) * (std::size_t{1} << (shift - 2));
  }
  if (!account_->take(size)) {
    return nullptr;
  }
  Header* block = nullptr;
  if (!large && free_[size_class] != nullptr) {
    block = free_[size_class];
    free_[size_class] = block->next;
  } else {
    block = static_cast<Header*>(std::malloc(size));
    if (block == nullptr) {
      account_->give(size);
      return nullptr;
    }
  }
  block->size_class = size_class;
  block->bytes = static_cast<std::uint32_t>(size);
  return block + 1;
}

void* TransportMemory::allocate_zeroed(std::size_t count, std::size_t bytes) {
  if (bytes != 0 && count > std::numeric_limits<std::uint32_t>::max() / bytes) {
    return nullptr;
  }
  void* memory = allocate(count * bytes);
  if (memory != nullptr) {
    std::memset(memory, 0, count * bytes);
  }
  return memory;
}

void* TransportMemory::reallocate(void* memory, std::size_t bytes) {
  if (memory == nullptr) {
    return allocate(bytes);
  }
  const std::size_t room = (static_cast<Header*>(memory) - 1)->bytes - sizeof(Header);
  if (bytes <= room && bytes * 4 >= room) {
    return memory;
  }
  void* fresh = allocate(bytes);
  if (fresh == nullptr) {
    return bytes <= room ? memory : nullptr;
  }
  std::memcpy(fresh, memory, bytes < room ? bytes : room);
  release(memory);
  return fresh;
}

void TransportMemory::release(void* memory) {
  if (memory == nullptr) {
    return;
  }
  Header* block = static_cast<Header*>(memory) - 1;
  account_->give(block->bytes);
  if (block->size_class == kNoClass) {
    std::free(block);
    return;
  }
  block->next = free_[block->size_class];
  free_[block->size_class] = block;
}

// --- OpenSSL ----------------------------------------------------------------------------------------
namespace {

struct OpensslHeader {
  MemoryAccount* account;  // nullptr: nobody's
  std::size_t bytes;       // header included
};
static_assert(sizeof(OpensslHeader) == 16);

thread_local MemoryAccount* openssl_account = nullptr;

void* openssl_malloc(std::size_t bytes, const char*, int) {
  if (bytes == 0 || bytes > std::numeric_limits<std::uint32_t>::max()) {
    return nullptr;
  }
  const std::size_t whole = bytes + sizeof(OpensslHeader);
  if (openssl_account != nullptr && !openssl_account->take(whole)) {
    return nullptr;
  }
  auto* block = static_cast<OpensslHeader*>(std::malloc(whole));
  if (block == nullptr) {
    if (openssl_account != nullptr) {
      openssl_account->give(whole);
    }
    return nullptr;
  }
  *block = {openssl_account, whole};
  return block + 1;
}

void openssl_free(void* memory, const char*, int) {
  if (memory == nullptr) {
    return;
  }
  OpensslHeader* block = static_cast<OpensslHeader*>(memory) - 1;
  MemoryAccount* account = block->account;
  const std::size_t bytes = block->bytes;
  std::free(block);
  if (account != nullptr) {
    account->give(bytes);
  }
}

void* openssl_realloc(void* memory, std::size_t bytes, const char* file, int line) {
  if (memory == nullptr) {
    return openssl_malloc(bytes, file, line);
  }
  if (bytes == 0) {
    openssl_free(memory, file, line);
    return nullptr;
  }
  void* fresh = openssl_malloc(bytes, file, line);
  if (fresh != nullptr) {
    const std::size_t room = (static_cast<OpensslHeader*>(memory) - 1)->bytes - sizeof(OpensslHeader);
    std::memcpy(fresh, memory, bytes < room ? bytes : room);
    openssl_free(memory, file, line);
  }
  return fresh;
}

}  // namespace

bool install_openssl_memory() { return CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) == 1; }

OpensslMemoryScope::OpensslMemoryScope(MemoryAccount* account) : before_(openssl_account) { openssl_account = account; }
OpensslMemoryScope::~OpensslMemoryScope() { openssl_account = before_; }

}  // namespace slipway
