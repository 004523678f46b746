/*
 * The native part: system calls that Node has no call for, for Linux. Node-API only, so that one binary
 * serves every Node version; no liburing and no kernel header, so that the distribution's age does not
 * matter; no versioned symbol of a C library, so that one binary serves glibc and musl.
 *
 * It keeps no policy. Functions return a number, -errno where the kernel refused; they throw where the
 * caller is wrong. Whatever comes out of shared memory (offsets, lengths, submission entries) is checked
 * here against memory that this thread has registered, because the kernel would write wherever it is told.
 *
 * Two kinds of state. Rings are of the process: any thread may reap any ring, so they stand in one table
 * and are named by number. Everything else is of one environment (a thread), and goes with it.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <node_api.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- the kernel's ABI, as far as it is used: io_uring(7), statx(2), madvise(2) ----------------------- */

enum { SYSCALL_IO_URING_SETUP = 425, SYSCALL_IO_URING_ENTER = 426, SYSCALL_IO_URING_REGISTER = 427 };
enum { SETUP_NO_MMAP = 1 << 14 };
enum { ENTER_GETEVENTS = 1 << 0, ENTER_EXT_ARG = 1 << 3 };
enum { REGISTER_EVENTFD = 4, REGISTER_PROBE = 8, REGISTER_SYNC_CANCEL = 24 };
enum { SQE_ASYNC = 1 << 4 };
enum { OP_NOP = 0, OP_READV = 1, OP_WRITEV = 2, OP_FSYNC = 3, OP_READ = 22, OP_WRITE = 23 };
#define MAP_OFFSET_RINGS 0LL
#define MAP_OFFSET_SQES 0x10000000LL

struct sqe {
  uint8_t opcode, flags;
  uint16_t ioprio;
  int32_t fd;
  uint64_t offset, address;
  uint32_t length, operation_flags;
  uint64_t user_data, rest[3];
};
struct cqe {
  uint64_t user_data;
  int32_t result;
  uint32_t flags;
};
struct sq_offsets {
  uint32_t head, tail, mask, entries, flags, dropped, array, reserved;
  uint64_t user_address;
};
struct cq_offsets {
  uint32_t head, tail, mask, entries, overflow, cqes, flags, reserved;
  uint64_t user_address;
};
struct ring_params {
  uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, reserved[3];
  struct sq_offsets sq;
  struct cq_offsets cq;
};
struct getevents_arg {
  uint64_t sigmask;
  uint32_t sigmask_size, minimum_wait;
  uint64_t timeout;
};
struct kernel_timespec {
  int64_t seconds, nanoseconds;
};
struct sync_cancel {
  uint64_t user_data;
  int32_t fd;
  uint32_t flags;
  struct kernel_timespec timeout;
  uint64_t rest[4];
};
struct probe {
  uint8_t last_op, ops_length;
  uint16_t reserved;
  uint32_t reserved2[3];
  struct {
    uint8_t op, reserved;
    uint16_t flags;
    uint32_t reserved2;
  } ops[64];
};
struct iovec64 {
  uint64_t base, length;
};

enum { PROT_READ_WRITE = 3, MAP_SHARED_POPULATED = 0x8001, MAP_FIXED_ANONYMOUS = 0x32 };
enum { MADVISE_DONTNEED = 4, MADVISE_DONTFORK = 10 };
enum { AT_FOLLOW = 0, STATX_DIO_ALIGNMENT = 0x2000 };
struct statx_result {
  uint32_t mask;
  uint8_t before[148];
  uint32_t dio_memory_alignment, dio_offset_alignment;
  uint8_t after[96];
};
_Static_assert(sizeof(void *) == 8, "system calls take 64-bit positions in one register");
_Static_assert(sizeof(struct sqe) == 64 && sizeof(struct cqe) == 16, "entries as the kernel has them");
_Static_assert(sizeof(struct ring_params) == 120, "parameters as the kernel has them");
_Static_assert(offsetof(struct statx_result, dio_memory_alignment) == 152, "statx as the kernel has it");
_Static_assert(sizeof(struct statx_result) == 256, "statx as the kernel has it");

static long checked(long result) { return result < 0 ? -errno : result; }

/* --- libuv's ABI, which is stable within its version 1 ---------------------------------------------- */

enum { UV_TYPE_POLL = 8, UV_EVENT_READABLE = 1 };
size_t uv_handle_size(int type);
int uv_poll_init(struct uv_loop_s *loop, void *handle, int fd);
int uv_poll_start(void *handle, int events, void (*callback)(void *, int, int));
int uv_poll_stop(void *handle);
void uv_close(void *handle, void (*callback)(void *));
void uv_ref(void *handle);
void uv_unref(void *handle);
void uv_handle_set_data(void *handle, void *data);
void *uv_handle_get_data(const void *handle);

/* --- state ------------------------------------------------------------------------------------------ */

enum { RINGS_MAX = 4096, MEMORIES_MAX = 1024, IOV_MAX_HERE = 1024, NOTICES_MAX = 256, RECEIVERS_MAX = 1024 };
enum ring_state { RING_FREE, RING_RESERVED, RING_OPEN, RING_CLOSING, RING_DRAINING };

/*
 * `state` and `views` change under `table_lock`. `users` counts threads that are inside a system call on
 * the ring: its descriptor is closed by the last of them, never under somebody's feet, because the number
 * might by then be another file's. Mapped memory goes when the descriptor and the last view have gone.
 */
struct ring {
  _Atomic int state, users;
  int id, fd, views;
  uint32_t sq_entries, cq_entries;
  _Atomic uint32_t *sq_head, *sq_tail, *cq_head, *cq_tail;
  uint32_t *sq_array;
  struct sqe *sqes;
  uint8_t *mapped_rings, *own_rings;
  size_t mapped_rings_size, own_rings_size, mapped_sqes_size;
};

struct memory {
  uint8_t *base;
  uint64_t length;
  napi_ref reference;
};

struct poll {
  struct environment *environment;
  void *handle;
  int fd, index;
  bool owns_fd, is_eventfd, closing;
  napi_ref callback;
  napi_async_context context;
  napi_async_cleanup_hook_handle hook;
};

struct notice {
  _Atomic int32_t *word;
  int memory, value, receiver;
};

/*
 * Who is told of the end of other threads. Under `table_lock`: so nobody writes to a descriptor whose number is
 * another file's by now. A number is never used again, and is nobody's once its thread has ended.
 */
struct receiver {
  struct environment *environment; /* NULL: free */
  int id, fd;
};

struct environment {
  napi_env env;
  struct memory memories[MEMORIES_MAX];
  int memory_last, memories_end; /* where the last hit was; behind the highest number that was ever used */
  struct poll **polls;
  int polls_capacity;
  /* Rings that this thread submits to, drained when it ends; and those that it made, closed then. */
  int32_t submits[RINGS_MAX], made[RINGS_MAX]; /* their numbers, or 0, which is nobody's */
  struct notice notices[NOTICES_MAX];
};

static struct ring rings[RINGS_MAX];
static struct receiver receivers[RECEIVERS_MAX];
static atomic_flag table_lock = ATOMIC_FLAG_INIT;

static void lock_table(void) {
  while (atomic_flag_test_and_set_explicit(&table_lock, memory_order_acquire)) syscall(SYS_sched_yield);
}
static void unlock_table(void) { atomic_flag_clear_explicit(&table_lock, memory_order_release); }

/* --- arguments and results -------------------------------------------------------------------------- */

#define ARGUMENTS(count)                                                                              \
  size_t argc = count;                                                                                \
  napi_value argv[count ? count : 1];                                                                 \
  struct environment *environment;                                                                    \
  if (napi_get_cb_info(env, info, &argc, argv, NULL, (void **)&environment) != napi_ok) return NULL;  \
  if (argc < count) return wrong(env, "too few arguments")
#define INT(name, at) \
  int32_t name;       \
  if (napi_get_value_int32(env, argv[at], &name) != napi_ok) return wrong(env, #name " must be a number")
#define WIDE(name, at) \
  int64_t name;        \
  if (napi_get_value_int64(env, argv[at], &name) != napi_ok) return wrong(env, #name " must be a number")

static napi_value wrong(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_PGAIO_NATIVE", message);
  return NULL;
}
static napi_value outside(napi_env env, const char *message) {
  napi_throw_range_error(env, "ERR_PGAIO_NATIVE", message);
  return NULL;
}
static napi_value number(napi_env env, long value) {
  napi_value result;
  napi_create_int64(env, value, &result);
  return result;
}

/** The bytes of a typed array, shared or not. */
static bool view_bytes(napi_env env, napi_value value, uint8_t **bytes, uint64_t *length) {
  napi_typedarray_type type;
  size_t elements;
  void *data;
  if (napi_get_typedarray_info(env, value, &type, &elements, &data, NULL, NULL) != napi_ok) return false;
  static const uint8_t element_bytes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  if ((size_t)type >= sizeof element_bytes) return false; /* newer than this list */
  *bytes = data;
  *length = elements * element_bytes[type];
  return true;
}

/* --- memories ---------------------------------------------------------------------------------------- */

static struct memory *memory_of(struct environment *environment, int64_t id) {
  if (id < 0 || id >= MEMORIES_MAX || environment->memories[id].base == NULL) return NULL;
  return &environment->memories[id];
}

static bool is_inside(const struct memory *memory, uint64_t offset, uint64_t length) {
  return offset <= memory->length && length <= memory->length - offset;
}

/** The same for 32-bit words, which must be aligned: the view itself may start anywhere. */
static bool is_word_inside(const struct memory *memory, uint64_t offset, uint64_t length) {
  return is_inside(memory, offset, length) && ((uintptr_t)memory->base + offset) % 4 == 0;
}

/** Whether a registered memory holds this range. Neighbouring entries are nearly always in the same one. */
static bool is_registered(struct environment *environment, uint64_t address, uint64_t length) {
  for (int tried = 0; tried < environment->memories_end; tried++) {
    int id = (environment->memory_last + tried) % environment->memories_end;
    struct memory *memory = &environment->memories[id];
    if (memory->base == NULL || address < (uint64_t)(uintptr_t)memory->base) continue;
    if (!is_inside(memory, address - (uint64_t)(uintptr_t)memory->base, length)) continue;
    environment->memory_last = id;
    return true;
  }
  return false;
}

/** registerMemory(view): number. The view stays alive until it is forgotten, or the thread has ended. */
static napi_value register_memory(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  uint8_t *bytes;
  uint64_t length;
  if (!view_bytes(env, argv[0], &bytes, &length) || bytes == NULL) return wrong(env, "a typed array is needed");
  for (int id = 0; id < MEMORIES_MAX; id++) {
    struct memory *memory = &environment->memories[id];
    if (memory->base != NULL) continue;
    if (napi_create_reference(env, argv[0], 1, &memory->reference) != napi_ok) return wrong(env, "no reference");
    memory->base = bytes;
    memory->length = length;
    if (id >= environment->memories_end) environment->memories_end = id + 1;
    return number(env, id);
  }
  return outside(env, "too many memories are registered");
}

/** forgetMemory(memory). Notices in it are withdrawn. Rings in it must be closed. */
static napi_value forget_memory(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  INT(id, 0);
  struct memory *memory = memory_of(environment, id);
  if (memory == NULL) return outside(env, "no such memory");
  for (int index = 0; index < NOTICES_MAX; index++) {
    struct notice *notice = &environment->notices[index];
    if (notice->word != NULL && notice->memory == id) notice->word = NULL;
  }
  napi_delete_reference(env, memory->reference);
  memory->base = NULL;
  return NULL;
}

/** address(view): number. */
static napi_value address(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  uint8_t *bytes;
  uint64_t length;
  if (!view_bytes(env, argv[0], &bytes, &length)) return wrong(env, "a typed array is needed");
  return number(env, (long)(uintptr_t)bytes);
}

/** advise(memory, offset, length, advice): 0 or -errno. */
static napi_value advise(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  INT(id, 0);
  WIDE(offset, 1);
  WIDE(length, 2);
  INT(advice, 3);
  struct memory *memory = memory_of(environment, id);
  if (memory == NULL) return outside(env, "no such memory");
  if (offset < 0 || length < 0 || !is_inside(memory, offset, length)) return outside(env, "outside the memory");
  return number(env, checked(syscall(SYS_madvise, memory->base + offset, length, advice)));
}

/* --- rings: making and closing ----------------------------------------------------------------------- */

static struct ring *ring_at(int32_t id) { return id < 0 ? NULL : &rings[id % RINGS_MAX]; }

static long enter(struct ring *ring, uint32_t submit, uint32_t wait_for, int64_t millis) {
  struct kernel_timespec timeout = {millis / 1000, millis % 1000 * 1000000};
  struct getevents_arg argument = {.timeout = (uint64_t)(uintptr_t)&timeout};
  if (wait_for == 0) return checked(syscall(SYSCALL_IO_URING_ENTER, ring->fd, submit, 0, 0, NULL, 0));
  if (millis < 0) argument.timeout = 0;
  return checked(syscall(SYSCALL_IO_URING_ENTER, ring->fd, submit, wait_for, ENTER_GETEVENTS | ENTER_EXT_ARG,
                         &argument, sizeof argument));
}

/**
 * Waits until the kernel is done with all that it took from this ring. Every entry gives one completion, so
 * what was taken and not yet completed is the difference of the two counters that the kernel alone moves.
 */
static void drain(struct ring *ring) {
  while (*ring->sq_head != *ring->cq_tail) {
    uint32_t unreaped = *ring->cq_tail - *ring->cq_head;
    if (unreaped >= ring->cq_entries) return;
    long result = enter(ring, 0, unreaped + 1, 1000);
    if (result < 0 && result != -EINTR && result != -ETIME && result != -EAGAIN && result != -EBUSY) return;
  }
}

/**
 * The kernel is not done with a ring when its descriptor is closed: some ten milliseconds later it stores the tail of
 * the completions once more (seen on Linux 6.18, every time), into the pages that it pinned when the ring was set up.
 * Memory of ours would be somebody else's by then, so it gets other pages, and the kernel keeps the old ones to
 * itself. Locked memory cannot be advised away, only replaced.
 */
static void close_descriptor(struct ring *ring) {
  syscall(SYS_close, ring->fd);
  ring->fd = -1;
  if (ring->own_rings == NULL) return;
  if (syscall(SYS_madvise, ring->own_rings, ring->own_rings_size, MADVISE_DONTNEED) != 0) {
    syscall(SYS_mmap, ring->own_rings, ring->own_rings_size, PROT_READ_WRITE, MAP_FIXED_ANONYMOUS, -1, 0);
    /* As all memory of I/O: written to by the kernel, it must stay where it is when this process starts another. */
    syscall(SYS_madvise, ring->own_rings, ring->own_rings_size, MADVISE_DONTFORK);
  }
  ring->own_rings = NULL;
}

/**
 * With the table locked, but not while it drains. The last user is gone, so nobody submits any more. Closing alone would leave what is in
 * flight running, and writing into memory that nobody keeps.
 */
static void finish_closing(struct ring *ring) {
  if (ring->state != RING_CLOSING || ring->users != 0) return;
  if (ring->fd >= 0) {
    ring->state = RING_DRAINING; /* this thread alone goes on */
    unlock_table();
    drain(ring);
    close_descriptor(ring);
    lock_table();
    ring->state = RING_CLOSING;
  }
  if (ring->views > 0) return;
  if (ring->mapped_rings != NULL) {
    syscall(SYS_munmap, ring->mapped_rings, ring->mapped_rings_size);
    syscall(SYS_munmap, ring->sqes, ring->mapped_sqes_size);
    ring->mapped_rings = NULL;
  }
  ring->state = RING_FREE;
}

static void release_ring(struct ring *ring) {
  atomic_fetch_sub(&ring->users, 1);
  if (ring->state != RING_CLOSING) return;
  lock_table();
  finish_closing(ring);
  unlock_table();
}

/** The ring, which cannot be closed until `release_ring`; NULL when it is closed. */
static struct ring *use_ring(int32_t id) {
  struct ring *ring = ring_at(id);
  if (ring == NULL) return NULL;
  atomic_fetch_add(&ring->users, 1);
  if (ring->state == RING_OPEN && ring->id == id) return ring;
  release_ring(ring);
  return NULL;
}

/** Whether this was a ring's number; one of a ring that is closed does nothing. */
static bool close_ring(int32_t id) {
  struct ring *ring = use_ring(id);
  if (ring == NULL) return false;
  lock_table();
  int open = RING_OPEN;
  atomic_compare_exchange_strong(&ring->state, &open, RING_CLOSING);
  unlock_table();
  release_ring(ring);
  return true;
}

static struct ring *reserve_ring(void) {
  struct ring *found = NULL;
  lock_table();
  for (int index = 0; index < RINGS_MAX && found == NULL; index++) {
    if (rings[index].state != RING_FREE) continue;
    found = &rings[index];
    found->state = RING_RESERVED;
    uint32_t serial = ((uint32_t)found->id / RINGS_MAX + 1) % (INT32_MAX / RINGS_MAX); /* old numbers stay wrong */
    found->id = (int)(serial * RINGS_MAX) + index;
  }
  unlock_table();
  return found;
}

static long map_ring(struct ring *ring, const struct ring_params *params) {
  size_t sq_size = params->sq.array + params->sq_entries * sizeof(uint32_t);
  size_t cq_size = params->cq.cqes + params->cq_entries * sizeof(struct cqe);
  size_t rings_size = sq_size > cq_size ? sq_size : cq_size;
  size_t sqes_size = params->sq_entries * sizeof(struct sqe);
  long mapped = syscall(SYS_mmap, NULL, rings_size, PROT_READ_WRITE, MAP_SHARED_POPULATED, ring->fd, MAP_OFFSET_RINGS);
  if (mapped == -1) return -errno;
  long sqes = syscall(SYS_mmap, NULL, sqes_size, PROT_READ_WRITE, MAP_SHARED_POPULATED, ring->fd, MAP_OFFSET_SQES);
  if (sqes == -1) {
    long error = errno;
    syscall(SYS_munmap, mapped, rings_size);
    return -error;
  }
  ring->mapped_rings = (uint8_t *)mapped;
  ring->mapped_rings_size = rings_size;
  ring->sqes = (struct sqe *)sqes;
  ring->mapped_sqes_size = sqes_size;
  return 0;
}

static void place_ring(struct ring *ring, const struct ring_params *params, uint8_t *base) {
  ring->sq_entries = params->sq_entries;
  ring->cq_entries = params->cq_entries;
  ring->sq_head = (_Atomic uint32_t *)(base + params->sq.head);
  ring->sq_tail = (_Atomic uint32_t *)(base + params->sq.tail);
  ring->cq_head = (_Atomic uint32_t *)(base + params->cq.head);
  ring->cq_tail = (_Atomic uint32_t *)(base + params->cq.tail);
  ring->sq_array = (uint32_t *)(base + params->sq.array);
  for (uint32_t index = 0; index < params->sq_entries; index++) ring->sq_array[index] = index;
}

static napi_value give_up_ring(napi_env env, struct ring *ring, long error) {
  if (ring->fd >= 0) close_descriptor(ring);
  ring->state = RING_FREE;
  return number(env, error);
}

/**
 * ringSetup(entries, memory, sqesOffset, ringOffset, ringBytes, out: Int32Array(12)): a ring's number or -errno.
 * `memory` -1: the kernel's own memory, mapped; see ringViews. Else the pages that `ringBytes` reaches into are the
 * ring's alone, and are zeros after it was closed. `out`: descriptor, submission entries,
 * completion entries, features; then the byte offsets of sq head, tail, flags, cq head, tail, entries.
 */
static napi_value ring_setup(napi_env env, napi_callback_info info) {
  ARGUMENTS(6);
  INT(entries, 0);
  INT(id, 1);
  WIDE(sqes_offset, 2);
  WIDE(ring_offset, 3);
  WIDE(ring_bytes, 4);
  uint8_t *out;
  uint64_t out_length;
  if (!view_bytes(env, argv[5], &out, &out_length) || out_length < 12 * 4) return wrong(env, "out is too small");
  if (entries < 1 || entries > 32768 || (entries & (entries - 1)) != 0) return outside(env, "entries");
  struct ring_params params;
  memset(&params, 0, sizeof params);
  struct memory *memory = NULL;
  if (id >= 0) {
    memory = memory_of(environment, id);
    uint64_t sqes_bytes = (uint64_t)entries * sizeof(struct sqe);
    if (memory == NULL || sqes_offset < 0 || ring_offset < 0 || ring_bytes < 0 ||
        !is_inside(memory, sqes_offset, sqes_bytes) || !is_inside(memory, ring_offset, ring_bytes))
      return outside(env, "the ring is outside the memory");
    params.flags = SETUP_NO_MMAP;
    params.sq.user_address = (uint64_t)(uintptr_t)(memory->base + sqes_offset);
    params.cq.user_address = (uint64_t)(uintptr_t)(memory->base + ring_offset);
  }
  /* The kernel is told where, not how far: it would write its head before we could see that it needs more. */
  uint64_t least = sizeof(struct cqe) * entries * 2 + sizeof(uint32_t) * entries + 64;
  if (memory != NULL && (uint64_t)ring_bytes < least) return number(env, -EOVERFLOW);
  struct ring *ring = reserve_ring();
  if (ring == NULL) return number(env, -ENFILE);
  ring->views = 0;
  ring->mapped_rings = ring->own_rings = NULL;
  ring->fd = (int)checked(syscall(SYSCALL_IO_URING_SETUP, entries, &params));
  if (ring->fd < 0) return give_up_ring(env, ring, ring->fd);
  if (memory != NULL) {
    ring->own_rings = memory->base + ring_offset;
    ring->own_rings_size = (size_t)ring_bytes;
    if (params.sq.array + params.sq_entries * 4ULL > (uint64_t)ring_bytes ||
        params.cq.cqes + params.cq_entries * 16ULL > (uint64_t)ring_bytes)
      return give_up_ring(env, ring, -EOVERFLOW);
    ring->sqes = (struct sqe *)(memory->base + sqes_offset);
    place_ring(ring, &params, memory->base + ring_offset);
  } else {
    long result = map_ring(ring, &params);
    if (result < 0) return give_up_ring(env, ring, result);
    place_ring(ring, &params, ring->mapped_rings);
  }
  const int32_t described[12] = {ring->fd,        params.sq_entries, params.cq_entries, params.features,
                                 params.sq.head,  params.sq.tail,    params.sq.flags,   params.cq.head,
                                 params.cq.tail,  params.cq.cqes,    params.sq.dropped, params.cq.overflow};
  memcpy(out, described, sizeof described);
  ring->state = RING_OPEN;
  environment->made[ring->id % RINGS_MAX] = ring->id;
  return number(env, ring->id);
}

static void view_gone(napi_env env, void *data, void *hint) {
  (void)env;
  (void)data;
  struct ring *ring = hint;
  lock_table();
  ring->views--;
  finish_closing(ring);
  unlock_table();
}

/** ringViews(ring): [submission entries, rings] of a mapped ring. The memory lasts as long as the views. */
static napi_value ring_views(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  INT(id, 0);
  struct ring *ring = use_ring(id);
  if (ring == NULL) return outside(env, "no such ring");
  napi_value result = NULL, buffer;
  void *bases[2] = {ring->sqes, ring->mapped_rings};
  size_t sizes[2] = {ring->mapped_sqes_size, ring->mapped_rings_size};
  if (ring->mapped_rings != NULL && napi_create_array_with_length(env, 2, &result) == napi_ok) {
    for (uint32_t index = 0; index < 2; index++) {
      lock_table();
      ring->views++;
      unlock_table();
      if (napi_create_external_arraybuffer(env, bases[index], sizes[index], view_gone, ring, &buffer) != napi_ok) {
        view_gone(env, NULL, ring);
        result = NULL;
        break;
      }
      napi_set_element(env, result, index, buffer);
    }
  }
  release_ring(ring);
  return result != NULL ? result : wrong(env, "this ring cannot be shown as an ArrayBuffer");
}

static napi_value ring_close(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  INT(id, 0);
  if (id < 0) return outside(env, "no such ring");
  /* Behind an old number there may be another ring of this thread, which is closed when the thread ends. */
  if (close_ring(id)) environment->made[id % RINGS_MAX] = 0;
  return NULL;
}

/** ringAttach(ring, submits): whether this thread submits to the ring, which is then drained when it ends. */
static napi_value ring_attach(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  INT(id, 0);
  INT(submits, 1);
  if (id < 0) return outside(env, "no such ring");
  struct ring *ring = use_ring(id);
  if (ring == NULL) return NULL;
  environment->submits[id % RINGS_MAX] = submits != 0 ? id : 0;
  release_ring(ring);
  return NULL;
}

/* --- rings: working with them ------------------------------------------------------------------------ */

static bool entry_is_sound(struct environment *environment, const struct sqe *sqe) {
  if ((sqe->flags & ~SQE_ASYNC) != 0 || sqe->ioprio != 0 || sqe->rest[0] != 0) return false;
  switch (sqe->opcode) {
    case OP_READ:
    case OP_WRITE:
      return is_registered(environment, sqe->address, sqe->length);
    case OP_READV:
    case OP_WRITEV: {
      if (sqe->length > IOV_MAX_HERE) return false;
      if (!is_registered(environment, sqe->address, sqe->length * sizeof(struct iovec64))) return false;
      for (uint32_t at = 0; at < sqe->length; at++) {
        struct iovec64 piece; /* copied, because it may stand anywhere */
        memcpy(&piece, (const void *)(uintptr_t)(sqe->address + at * sizeof piece), sizeof piece);
        if (!is_registered(environment, piece.base, piece.length)) return false;
      }
      return true;
    }
    default:
      return sqe->opcode == OP_NOP || sqe->opcode == OP_FSYNC;
  }
}

/**
 * ringEnter(ring, submit, waitFor, millis): entries that the kernel took, or -errno. `submit` entries from the
 * ring's head on are checked and submitted; then, unless `waitFor` is 0, waits until that many completions are
 * there, for at most `millis` (-1: without end). -ETIME when none is there by then; with some, but too few, 0.
 */
static napi_value ring_enter(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  INT(id, 0);
  INT(submit, 1);
  INT(wait_for, 2);
  INT(millis, 3);
  if (submit < 0 || wait_for < 0) return outside(env, "counts");
  struct ring *ring = use_ring(id);
  if (ring == NULL) return number(env, -EBADF);
  uint32_t head = atomic_load_explicit(ring->sq_head, memory_order_acquire);
  bool sound = (uint32_t)submit <= ring->sq_entries;
  for (uint32_t at = head; sound && at != head + (uint32_t)submit; at++) {
    uint32_t index = at & (ring->sq_entries - 1);
    sound = ring->sq_array[index] == index && entry_is_sound(environment, &ring->sqes[index]);
  }
  long result = sound ? enter(ring, submit, wait_for, millis) : 0;
  release_ring(ring);
  return sound ? number(env, result) : outside(env, "a submission entry is outside the registered memory");
}

/** ringRegisterEventfd(ring, fd): 0 or -errno. */
static napi_value ring_register_eventfd(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  INT(id, 0);
  INT(fd, 1);
  struct ring *ring = use_ring(id);
  if (ring == NULL) return number(env, -EBADF);
  /* One that a former owner registered goes first; without one this fails, which is as well. */
  syscall(SYSCALL_IO_URING_REGISTER, ring->fd, REGISTER_EVENTFD + 1, NULL, 0);
  long result = fd < 0 ? 0 : checked(syscall(SYSCALL_IO_URING_REGISTER, ring->fd, REGISTER_EVENTFD, &fd, 1));
  release_ring(ring);
  return number(env, result);
}

/**
 * ringCancel(ring, low, high): 0 when the entry with these halves of user data was stopped before it began, or was told to
 * stop: it completes, with -ECANCELED or in another way. Else -errno: what has begun goes on. Waits for nothing.
 */
static napi_value ring_cancel(napi_env env, napi_callback_info info) {
  ARGUMENTS(3);
  INT(id, 0);
  INT(low, 1);
  INT(high, 2);
  struct ring *ring = use_ring(id);
  if (ring == NULL) return number(env, -EBADF);
  struct sync_cancel wanted;
  memset(&wanted, 0, sizeof wanted);
  wanted.user_data = (uint64_t)(uint32_t)high << 32 | (uint32_t)low;
  long result = checked(syscall(SYSCALL_IO_URING_REGISTER, ring->fd, REGISTER_SYNC_CANCEL, &wanted, 1));
  release_ring(ring);
  return number(env, result);
}

/** ringProbe(ring, out: Uint8Array(64)): 0 or -errno; out[opcode] is 1 where the kernel has the operation. */
static napi_value ring_probe(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  INT(id, 0);
  uint8_t *out;
  uint64_t length;
  if (!view_bytes(env, argv[1], &out, &length) || length < 64) return wrong(env, "out is too small");
  struct ring *ring = use_ring(id);
  if (ring == NULL) return number(env, -EBADF);
  struct probe probe;
  memset(&probe, 0, sizeof probe);
  long result = checked(syscall(SYSCALL_IO_URING_REGISTER, ring->fd, REGISTER_PROBE, &probe, 64));
  release_ring(ring);
  memset(out, 0, 64);
  for (int index = 0; result >= 0 && index < 64 && index < probe.ops_length; index++)
    if (probe.ops[index].op < 64) out[probe.ops[index].op] = probe.ops[index].flags & 1;
  return number(env, result);
}

/* --- descriptors on the event loop ------------------------------------------------------------------- */

static void poll_closed(void *handle) {
  struct poll *poll = uv_handle_get_data(handle);
  if (poll->owns_fd) syscall(SYS_close, poll->fd);
  poll->environment->polls[poll->index] = NULL;
  napi_remove_async_cleanup_hook(poll->hook);
  free(handle);
  free(poll);
}

static void begin_poll_close(struct poll *poll) {
  if (poll->closing) return;
  poll->closing = true;
  uv_poll_stop(poll->handle);
  napi_async_destroy(poll->environment->env, poll->context);
  uv_close(poll->handle, poll_closed);
}

/** The thread ends: an open handle on its loop would abort the process. */
static void poll_environment_ends(napi_async_cleanup_hook_handle hook, void *data) {
  (void)hook;
  begin_poll_close(data);
}

static void poll_ready(void *handle, int status, int events) {
  (void)status;
  (void)events;
  struct poll *poll = uv_handle_get_data(handle);
  napi_env env = poll->environment->env;
  uint64_t count;
  if (poll->is_eventfd) (void)!read(poll->fd, &count, sizeof count);
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value callback, global, result, error;
  napi_get_reference_value(env, poll->callback, &callback);
  napi_get_global(env, &global);
  if (napi_make_callback(env, poll->context, global, callback, 0, NULL, &result) == napi_pending_exception &&
      napi_get_and_clear_last_exception(env, &error) == napi_ok)
    napi_fatal_exception(env, error);
  napi_close_handle_scope(env, scope);
}

static int poll_index(struct environment *environment) {
  for (int index = 0; index < environment->polls_capacity; index++)
    if (environment->polls[index] == NULL) return index;
  int capacity = environment->polls_capacity * 2 + 8;
  struct poll **polls = realloc(environment->polls, capacity * sizeof *polls);
  if (polls == NULL) return -1;
  for (int index = environment->polls_capacity; index < capacity; index++) polls[index] = NULL;
  int first = environment->polls_capacity;
  environment->polls = polls;
  environment->polls_capacity = capacity;
  return first;
}

/**
 * pollOpen(fd, isEventfd, callback): a poll's number or -errno. Calls back on this thread's loop while `fd` is
 * readable. An eventfd is read empty, and owned; of any other descriptor a duplicate is polled, because a loop
 * takes each number only once. Not started, and does not keep the loop alive.
 */
static napi_value poll_open(napi_env env, napi_callback_info info) {
  ARGUMENTS(3);
  INT(fd, 0);
  INT(is_eventfd, 1);
  napi_valuetype type;
  if (napi_typeof(env, argv[2], &type) != napi_ok || type != napi_function)
    return wrong(env, "callback must be a function");
  if (fd < 0) return number(env, -EBADF);
  struct uv_loop_s *loop;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return wrong(env, "no event loop");
  int index = poll_index(environment);
  struct poll *poll = calloc(1, sizeof *poll);
  void *handle = calloc(1, uv_handle_size(UV_TYPE_POLL));
  if (index < 0 || poll == NULL || handle == NULL) goto no_memory;
  poll->environment = environment;
  poll->handle = handle;
  poll->index = index;
  poll->is_eventfd = is_eventfd != 0;
  poll->owns_fd = true;
  poll->fd = is_eventfd ? fd : (int)checked(syscall(SYS_fcntl, fd, 1030 /* F_DUPFD_CLOEXEC */, 0));
  int result = poll->fd < 0 ? poll->fd : uv_poll_init(loop, handle, poll->fd);
  if (result < 0) {
    if (!is_eventfd && poll->fd >= 0) syscall(SYS_close, poll->fd);
    free(handle);
    free(poll);
    return number(env, result);
  }
  napi_value name;
  uv_handle_set_data(handle, poll);
  uv_unref(handle);
  environment->polls[index] = poll;
  napi_create_string_utf8(env, "pgaio", NAPI_AUTO_LENGTH, &name);
  napi_create_reference(env, argv[2], 1, &poll->callback);
  napi_async_init(env, NULL, name, &poll->context);
  napi_add_async_cleanup_hook(env, poll_environment_ends, poll, &poll->hook);
  return number(env, index);
no_memory:
  free(poll);
  free(handle);
  return number(env, -ENOMEM);
}

static struct poll *poll_of(struct environment *environment, int32_t id) {
  if (id < 0 || id >= environment->polls_capacity) return NULL;
  struct poll *poll = environment->polls[id];
  return poll == NULL || poll->closing ? NULL : poll;
}

/** pollSet(poll, active, keepsAlive): 0 or -errno. */
static napi_value poll_set(napi_env env, napi_callback_info info) {
  ARGUMENTS(3);
  INT(id, 0);
  INT(active, 1);
  INT(keeps_alive, 2);
  struct poll *poll = poll_of(environment, id);
  if (poll == NULL) return outside(env, "no such poll");
  (keeps_alive ? uv_ref : uv_unref)(poll->handle);
  int result = active ? uv_poll_start(poll->handle, UV_EVENT_READABLE, poll_ready) : uv_poll_stop(poll->handle);
  return number(env, result);
}

static napi_value poll_close(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  INT(id, 0);
  struct poll *poll = poll_of(environment, id);
  if (poll == NULL) return outside(env, "no such poll");
  napi_delete_reference(env, poll->callback);
  begin_poll_close(poll);
  return NULL;
}

/** eventfd(): a descriptor or -errno. */
static napi_value make_eventfd(napi_env env, napi_callback_info info) {
  (void)info;
  return number(env, checked(syscall(SYS_eventfd2, 0, 02004000 /* EFD_CLOEXEC | EFD_NONBLOCK */)));
}

/** eventfdSignal(fd): 0 or -errno. */
static napi_value eventfd_signal(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  INT(fd, 0);
  const uint64_t one = 1;
  return number(env, checked(write(fd, &one, sizeof one)));
}

/** With the table locked. */
static void close_receiver(struct receiver *receiver) {
  syscall(SYS_close, receiver->fd);
  receiver->environment = NULL;
}

static void signal_receiver(int id) {
  if (id <= 0) return;
  const uint64_t one = 1;
  struct receiver *receiver = &receivers[id % RECEIVERS_MAX];
  lock_table();
  if (receiver->environment != NULL && receiver->id == id) (void)!write(receiver->fd, &one, sizeof one);
  unlock_table();
}

/**
 * noticeReceiver(eventfd): a number above 0 that any thread may give to `exitNotice`, or -errno. Lasts until this
 * thread ends; the eventfd itself stays the caller's.
 */
static napi_value notice_receiver(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  INT(eventfd, 0);
  long fd = checked(syscall(SYS_fcntl, eventfd, 1030 /* F_DUPFD_CLOEXEC */, 0));
  if (fd < 0) return number(env, fd);
  int id = 0;
  lock_table();
  for (int index = 0; index < RECEIVERS_MAX && id == 0; index++) {
    struct receiver *receiver = &receivers[index];
    if (receiver->environment != NULL) continue;
    uint32_t serial = ((uint32_t)receiver->id / RECEIVERS_MAX + 1) % (INT32_MAX / RECEIVERS_MAX);
    id = (int)((serial == 0 ? 1 : serial) * RECEIVERS_MAX) + index;
    *receiver = (struct receiver){environment, id, (int)fd};
  }
  unlock_table();
  if (id != 0) return number(env, id);
  syscall(SYS_close, fd);
  return outside(env, "too many receivers");
}

/**
 * exitNotice(memory, byteOffset, value, receiver): a number. When this thread has run its last JavaScript, and the
 * kernel is done with what it submitted, the word there becomes `value`, and the receiver (-1: none) is signalled.
 */
static napi_value exit_notice(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  INT(id, 0);
  WIDE(offset, 1);
  INT(value, 2);
  INT(receiver, 3);
  struct memory *memory = memory_of(environment, id);
  if (memory == NULL || offset < 0 || !is_word_inside(memory, offset, 4)) return outside(env, "outside the memory");
  for (int index = 0; index < NOTICES_MAX; index++) {
    if (environment->notices[index].word != NULL) continue;
    _Atomic int32_t *word = (_Atomic int32_t *)(memory->base + offset);
    environment->notices[index] = (struct notice){word, id, value, receiver};
    return number(env, index);
  }
  return outside(env, "too many notices");
}

static napi_value withdraw_notice(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  INT(index, 0);
  if (index < 0 || index >= NOTICES_MAX) return outside(env, "no such notice");
  environment->notices[index].word = NULL;
  return NULL;
}

/* --- files ------------------------------------------------------------------------------------------- */

/**
 * preadv(fd, memory, vectorMemory, vectorOffset, count, position, write): bytes or -errno. The vector, `count`
 * pairs of 32-bit words (offset in `memory`, length), stands in another registered memory.
 */
static napi_value transfer(napi_env env, napi_callback_info info) {
  ARGUMENTS(7);
  INT(fd, 0);
  INT(id, 1);
  INT(vector_id, 2);
  WIDE(vector_offset, 3);
  INT(count, 4);
  WIDE(position, 5);
  INT(is_write, 6);
  struct memory *memory = memory_of(environment, id), *vector = memory_of(environment, vector_id);
  if (memory == NULL || vector == NULL) return outside(env, "no such memory");
  if (count < 0 || count > IOV_MAX_HERE || vector_offset < 0 ||
      !is_word_inside(vector, vector_offset, (uint64_t)count * 8))
    return outside(env, "the vector is outside the memory");
  const volatile uint32_t *pairs = (const volatile uint32_t *)(vector->base + vector_offset);
  struct iovec64 pieces[IOV_MAX_HERE];
  for (int piece = 0; piece < count; piece++) {
    uint32_t offset = pairs[piece * 2], length = pairs[piece * 2 + 1];
    if (!is_inside(memory, offset, length)) return outside(env, "a piece is outside the memory");
    pieces[piece].base = (uint64_t)(uintptr_t)(memory->base + offset);
    pieces[piece].length = length;
  }
  long result, number_of_call = is_write ? SYS_pwritev : SYS_preadv;
  if (count == 1 && !is_write) result = syscall(SYS_pread64, fd, pieces[0].base, pieces[0].length, position);
  else if (count == 1) result = syscall(SYS_pwrite64, fd, pieces[0].base, pieces[0].length, position);
  else result = syscall(number_of_call, fd, pieces, count, position, 0); /* position in one register: 64-bit only */
  return number(env, checked(result));
}

enum { PATH_BYTES = 4097 };

/** 0, -errno, or 1 when it has thrown: a path that does not fit, or ends early, would name another file. */
static long path_argument(napi_env env, napi_value value, char path[PATH_BYTES]) {
  size_t length;
  if (napi_get_value_string_utf8(env, value, path, PATH_BYTES, &length) != napi_ok) {
    wrong(env, "path must be a string");
    return 1;
  }
  if (length == PATH_BYTES - 1) return -ENAMETOOLONG;
  return memchr(path, 0, length) != NULL ? -EINVAL : 0;
}

/** open(path, flags, mode): a descriptor, or -errno. It lasts beyond the thread: the caller closes it. */
static napi_value open_file(napi_env env, napi_callback_info info) {
  ARGUMENTS(3);
  INT(flags, 1);
  INT(mode, 2);
  char path[PATH_BYTES];
  long refused = path_argument(env, argv[0], path);
  if (refused != 0) return refused < 0 ? number(env, refused) : NULL;
  return number(env, checked(syscall(SYS_openat, -100 /* AT_FDCWD */, path, flags | 02000000 /* O_CLOEXEC */, mode)));
}

static napi_value close_file(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  INT(fd, 0);
  return number(env, checked(syscall(SYS_close, fd)));
}

/** sync(fd, dataOnly): 0 or -errno. */
static napi_value sync_file(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  INT(fd, 0);
  INT(data_only, 1);
  return number(env, checked(syscall(data_only ? SYS_fdatasync : SYS_fsync, fd)));
}

/** fadvise(fd, offset, length, advice): 0 or -errno. */
static napi_value fadvise(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  INT(fd, 0);
  WIDE(offset, 1);
  WIDE(length, 2);
  INT(advice, 3);
  return number(env, checked(syscall(SYS_fadvise64, fd, offset, length, advice)));
}

/** fallocate(fd, mode, offset, length): 0 or -errno. */
static napi_value fallocate_file(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  INT(fd, 0);
  INT(mode, 1);
  WIDE(offset, 2);
  WIDE(length, 3);
  return number(env, checked(syscall(SYS_fallocate, fd, mode, offset, length)));
}

/** directAlignment(path, out: Int32Array(2)): 0 or -errno; out: memory and offset, 0 where it says nothing. */
static napi_value direct_alignment(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  char path[PATH_BYTES];
  uint8_t *out;
  uint64_t out_length;
  long refused = path_argument(env, argv[0], path);
  if (refused > 0) return NULL;
  if (!view_bytes(env, argv[1], &out, &out_length) || out_length < 8) return wrong(env, "out is too small");
  if (refused < 0) return number(env, refused);
  struct statx_result result;
  memset(&result, 0, sizeof result);
  long error = checked(syscall(SYS_statx, -100, path, AT_FOLLOW, STATX_DIO_ALIGNMENT, &result));
  bool known = error == 0 && (result.mask & STATX_DIO_ALIGNMENT) != 0;
  const int32_t alignment[2] = {known ? (int32_t)result.dio_memory_alignment : 0,
                                known ? (int32_t)result.dio_offset_alignment : 0};
  memcpy(out, alignment, sizeof alignment);
  return number(env, error);
}

/* --- the machine ------------------------------------------------------------------------------------- */

/** limit(resource): [soft, hard], Infinity where there is none. */
static napi_value limit(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  INT(resource, 0);
  uint64_t values[2];
  if (syscall(SYS_prlimit64, 0, resource, NULL, values) != 0) return outside(env, "no such resource");
  napi_value result, value;
  napi_create_array_with_length(env, 2, &result);
  for (uint32_t index = 0; index < 2; index++) {
    napi_create_double(env, values[index] == UINT64_MAX ? __builtin_inf() : (double)values[index], &value);
    napi_set_element(env, result, index, value);
  }
  return result;
}

/* --- the environment --------------------------------------------------------------------------------- */

/**
 * What this thread submitted to a ring is over; also where another thread is closing the ring just now, and
 * waits for the same. The ring cannot be used then, but memory of this thread's own would go before that is over.
 */
static void await_submitted(int32_t id) {
  const struct kernel_timespec pause = {0, 1000000};
  struct ring *ring = use_ring(id);
  if (ring != NULL) {
    drain(ring);
    release_ring(ring);
    return;
  }
  for (ring = ring_at(id);;) {
    lock_table();
    bool closing = ring->id == id && (ring->state == RING_DRAINING || (ring->state == RING_CLOSING && ring->fd >= 0));
    unlock_table();
    if (!closing) return;
    syscall(SYS_nanosleep, &pause, NULL);
  }
}

/**
 * A thread ends, whether or not its JavaScript could clean up. What the kernel took from its rings is waited
 * for: its buffers, and the descriptors that Node closes next, are in use until then, and what is queued for
 * kernel threads would be cancelled. Then others are told.
 */
static void environment_ends(void *data) {
  struct environment *environment = data;
  for (int index = 0; index < RINGS_MAX; index++)
    if (environment->submits[index] != 0) await_submitted(environment->submits[index]);
  for (int index = 0; index < RINGS_MAX; index++)
    if (environment->made[index] != 0) close_ring(environment->made[index]);
  for (int index = 0; index < NOTICES_MAX; index++) {
    struct notice *notice = &environment->notices[index];
    if (notice->word == NULL) continue;
    atomic_store(notice->word, notice->value); /* before the signal: who is woken sees it */
    signal_receiver(notice->receiver);
  }
  lock_table();
  for (int index = 0; index < RECEIVERS_MAX; index++)
    if (receivers[index].environment == environment) close_receiver(&receivers[index]);
  unlock_table();
}

static void environment_freed(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  struct environment *environment = data;
  free(environment->polls);
  free(environment);
}

NAPI_MODULE_INIT() {
  struct environment *environment = calloc(1, sizeof *environment);
  if (environment == NULL) return NULL;
  environment->env = env;
  napi_set_instance_data(env, environment, environment_freed, NULL);
  napi_add_env_cleanup_hook(env, environment_ends, environment);
  static const struct {
    const char *name;
    napi_callback function;
  } functions[] = {
      {"registerMemory", register_memory},
      {"forgetMemory", forget_memory},
      {"address", address},
      {"advise", advise},
      {"ringSetup", ring_setup},
      {"ringViews", ring_views},
      {"ringClose", ring_close},
      {"ringAttach", ring_attach},
      {"ringEnter", ring_enter},
      {"ringRegisterEventfd", ring_register_eventfd},
      {"ringCancel", ring_cancel},
      {"ringProbe", ring_probe},
      {"pollOpen", poll_open},
      {"pollSet", poll_set},
      {"pollClose", poll_close},
      {"eventfd", make_eventfd},
      {"eventfdSignal", eventfd_signal},
      {"noticeReceiver", notice_receiver},
      {"exitNotice", exit_notice},
      {"withdrawNotice", withdraw_notice},
      {"transfer", transfer},
      {"open", open_file},
      {"close", close_file},
      {"sync", sync_file},
      {"fadvise", fadvise},
      {"fallocate", fallocate_file},
      {"directAlignment", direct_alignment},
      {"limit", limit},
  };
  for (size_t index = 0; index < sizeof functions / sizeof *functions; index++) {
    napi_value function;
    napi_create_function(env, functions[index].name, NAPI_AUTO_LENGTH, functions[index].function, environment,
                         &function);
    napi_set_named_property(env, exports, functions[index].name, function);
  }
  return exports;
}
