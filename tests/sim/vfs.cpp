// SQLite's files in memory. Locks and shared memory belong to simulated processes: a crash keeps the bytes and drops the locks,
// as the operating system does (the POSIX locks of real files would belong to the one real process).
#include <sqlite3.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "sim.hpp"

namespace dbos::sim::vfs {

namespace {

constexpr int kShmLocks = SQLITE_SHM_NLOCK;

struct Handle;
struct File {
    std::string path;
    std::uint32_t object = 0;
    std::vector<unsigned char> bytes;
    bool from_image = false;
    // The locks of the file, as sqlite3_io_methods.xLock has them.
    int shared = 0;
    Handle* reserved = nullptr;
    Handle* exclusive = nullptr;
    // The shared memory of its write-ahead log.
    std::vector<std::unique_ptr<unsigned char[]>> regions;
    int mapped = 0;
    int shm_shared[kShmLocks] = {};
    Handle* shm_exclusive[kShmLocks] = {};
    std::vector<Handle*> handles;
};
struct Handle : sqlite3_file {
    File* file;
    int lock;
    int process;
    bool dead;
    bool uses_shm;
    unsigned shm_shared;
    unsigned shm_exclusive;
};
struct Files {
    std::map<std::string, std::unique_ptr<File>> named;
    std::vector<std::unique_ptr<File>> gone;        // deleted; frozen handles may still refer to them
    std::vector<std::vector<unsigned char>> spare;  // the memory of files of earlier worlds
    unsigned opened = 0;
};
Files files_of_worlds;
Files files_of_images;
Files* files_now = &files_of_worlds;
Files& all() { return *files_now; }

std::unique_ptr<File> new_file(const std::string& path) {
    Files& files = all();
    auto file = std::make_unique<File>();
    file->path = path;
    file->object = files.opened;
    if (!files.spare.empty()) {
        file->bytes = std::move(files.spare.back());
        file->bytes.clear();
        files.spare.pop_back();
    }
    return file;
}

Handle& handle_of(sqlite3_file* file) { return *static_cast<Handle*>(file); }

/// Stands around a write: a process may die in the middle of it.
class Writing {
   public:
    Writing() { in_file(true); }
    ~Writing() { in_file(false); }
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;
};

/// A preemption and crash point. False if the handle's process is dead.
bool pass(Handle& handle, char kind) {
    if (!handle.dead) point(kind, handle.file->object);
    return !handle.dead;
}

void set_lock(Handle& handle, int to) {
    File& file = *handle.file;
    if (handle.lock >= SQLITE_LOCK_SHARED && to < SQLITE_LOCK_SHARED) --file.shared;
    if (handle.lock < SQLITE_LOCK_SHARED && to >= SQLITE_LOCK_SHARED) ++file.shared;
    if (file.reserved == &handle && to < SQLITE_LOCK_RESERVED) file.reserved = nullptr;
    if (file.exclusive == &handle && to < SQLITE_LOCK_EXCLUSIVE) file.exclusive = nullptr;
    if (to >= SQLITE_LOCK_RESERVED) file.reserved = &handle;
    if (to >= SQLITE_LOCK_EXCLUSIVE) file.exclusive = &handle;
    handle.lock = to;
}

void drop_shm(Handle& handle) {
    File& file = *handle.file;
    for (int i = 0; i < kShmLocks; ++i) {
        if ((handle.shm_shared >> i & 1) != 0) --file.shm_shared[i];
        if ((handle.shm_exclusive >> i & 1) != 0) file.shm_exclusive[i] = nullptr;
    }
    handle.shm_shared = handle.shm_exclusive = 0;
    if (!handle.uses_shm) return;
    handle.uses_shm = false;
    if (--file.mapped == 0) file.regions.clear();
}

int x_close(sqlite3_file* raw) {
    const Unseen unseen;
    Handle& handle = handle_of(raw);
    if (handle.dead) return SQLITE_OK;
    set_lock(handle, SQLITE_LOCK_NONE);
    drop_shm(handle);
    std::erase(handle.file->handles, &handle);
    return SQLITE_OK;
}

int x_read(sqlite3_file* raw, void* to, int size, sqlite3_int64 offset) {
    const Unseen unseen;
    const Handle& handle = handle_of(raw);
    if (handle.dead) return SQLITE_IOERR_READ;
    const auto& bytes = handle.file->bytes;
    const auto held = static_cast<sqlite3_int64>(bytes.size());
    const sqlite3_int64 there = std::clamp<sqlite3_int64>(held - offset, 0, size);
    if (there > 0) std::memcpy(to, bytes.data() + offset, static_cast<std::size_t>(there));
    if (there == size) return SQLITE_OK;
    std::memset(static_cast<char*>(to) + there, 0, static_cast<std::size_t>(size - there));
    return SQLITE_IOERR_SHORT_READ;
}

std::uint64_t hash_of(const unsigned char* bytes, int size) {
    std::uint64_t hash = static_cast<std::uint64_t>(size);
    for (int at = 0; at + 8 <= size; at += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes + at, 8);
        hash = (hash ^ word) * 1099511628211ull;
    }
    return hash;
}

int x_write(sqlite3_file* raw, const void* from, int size, sqlite3_int64 offset) {
    const Unseen unseen;
    const Writing mark;
    Handle& handle = handle_of(raw);
    if (!pass(handle, '>')) return SQLITE_IOERR_WRITE;
    auto& bytes = handle.file->bytes;
    const auto* begin = static_cast<const unsigned char*>(from);
    const auto at = static_cast<std::size_t>(offset);
    if (at == bytes.size()) {
        bytes.insert(bytes.end(), begin, begin + size);
    } else {
        if (at + static_cast<std::size_t>(size) > bytes.size())
            bytes.resize(at + static_cast<std::size_t>(size));
        std::memcpy(bytes.data() + at, from, static_cast<std::size_t>(size));
    }
    note(hash_of(begin, size) ^ static_cast<std::uint64_t>(offset));
    files::written(handle.file->path);
    return SQLITE_OK;
}

int x_truncate(sqlite3_file* raw, sqlite3_int64 size) {
    const Unseen unseen;
    Handle& handle = handle_of(raw);
    if (!pass(handle, 't')) return SQLITE_IOERR_TRUNCATE;
    handle.file->bytes.resize(static_cast<std::size_t>(size));
    return SQLITE_OK;
}

int x_sync(sqlite3_file* raw, int) {
    const Writing mark;
    Handle& handle = handle_of(raw);
    if (sync_max() > 0 && !handle.dead && !quiet())
        seam::sleep_in_callback(
            seam::Duration(static_cast<Nanos>(draw() % static_cast<std::uint64_t>(sync_max()))));
    return pass(handle, 'y') ? SQLITE_OK : SQLITE_IOERR_FSYNC;
}

int x_size(sqlite3_file* raw, sqlite3_int64* size) {
    const Unseen unseen;
    const Handle& handle = handle_of(raw);
    *size = static_cast<sqlite3_int64>(handle.file->bytes.size());
    return handle.dead ? SQLITE_IOERR_FSTAT : SQLITE_OK;
}

int x_lock(sqlite3_file* raw, int wanted) {
    const Unseen unseen;
    Handle& handle = handle_of(raw);
    if (handle.dead) return SQLITE_IOERR_LOCK;
    if (wanted <= handle.lock) return SQLITE_OK;
    const File& file = *handle.file;
    if (file.exclusive && file.exclusive != &handle) return SQLITE_BUSY;
    if (wanted >= SQLITE_LOCK_RESERVED && file.reserved && file.reserved != &handle) return SQLITE_BUSY;
    if (wanted == SQLITE_LOCK_EXCLUSIVE && file.shared > (handle.lock >= SQLITE_LOCK_SHARED ? 1 : 0))
        return SQLITE_BUSY;
    set_lock(handle, wanted);
    return SQLITE_OK;
}

int x_unlock(sqlite3_file* raw, int to) {
    const Unseen unseen;
    Handle& handle = handle_of(raw);
    if (!handle.dead && to < handle.lock) set_lock(handle, to);
    return SQLITE_OK;
}

int x_reserved(sqlite3_file* raw, int* result) {
    const Unseen unseen;
    *result = handle_of(raw).file->reserved != nullptr ? 1 : 0;
    return SQLITE_OK;
}

int x_control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int x_sector(sqlite3_file*) { return 4096; }
int x_capabilities(sqlite3_file*) { return SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN; }

int x_shm_map(sqlite3_file* raw, int region, int size, int extend, void volatile** out) {
    const Unseen unseen;
    Handle& handle = handle_of(raw);
    *out = nullptr;
    if (handle.dead) return SQLITE_IOERR_SHMMAP;
    File& file = *handle.file;
    if (!handle.uses_shm) {
        handle.uses_shm = true;
        ++file.mapped;
    }
    while (file.regions.size() <= static_cast<std::size_t>(region)) {
        if (extend == 0) return SQLITE_OK;
        file.regions.push_back(std::make_unique<unsigned char[]>(static_cast<std::size_t>(size)));
    }
    *out = file.regions[static_cast<std::size_t>(region)].get();
    return SQLITE_OK;
}

bool shm_conflict(const Handle& handle, int first, int count, bool exclusive) {
    const File& file = *handle.file;
    for (int i = first; i < first + count; ++i) {
        if (file.shm_exclusive[i] && file.shm_exclusive[i] != &handle) return true;
        if (exclusive && file.shm_shared[i] > static_cast<int>(handle.shm_shared >> i & 1)) return true;
    }
    return false;
}

int x_shm_lock(sqlite3_file* raw, int first, int count, int flags) {
    const Unseen unseen;
    Handle& handle = handle_of(raw);
    if (handle.dead) return SQLITE_IOERR_SHMLOCK;
    File& file = *handle.file;
    const bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
    if ((flags & SQLITE_SHM_LOCK) != 0) {
        if (!pass(handle, 'k')) return SQLITE_IOERR_SHMLOCK;
        if (shm_conflict(handle, first, count, exclusive)) return SQLITE_BUSY;
    }
    for (int i = first; i < first + count; ++i) {
        const unsigned bit = 1u << i;
        if ((flags & SQLITE_SHM_UNLOCK) != 0) {
            if ((handle.shm_shared & bit) != 0) --file.shm_shared[i];
            if ((handle.shm_exclusive & bit) != 0) file.shm_exclusive[i] = nullptr;
            handle.shm_shared &= ~bit;
            handle.shm_exclusive &= ~bit;
        } else if (exclusive) {
            file.shm_exclusive[i] = &handle;
            handle.shm_exclusive |= bit;
        } else if ((handle.shm_shared & bit) == 0) {
            ++file.shm_shared[i];
            handle.shm_shared |= bit;
        }
    }
    // The lock of the log's writer: what it committed is published, and nobody has committed anything since.
    constexpr int kWriterLock = 0;
    if ((flags & SQLITE_SHM_UNLOCK) != 0 && exclusive && first == kWriterLock && on_commit && !quiet()) {
        const Quiet nobody_else;
        on_commit(file.path);
    }
    return SQLITE_OK;
}

void x_barrier(sqlite3_file*) {}

int x_shm_unmap(sqlite3_file* raw, int) {
    const Unseen unseen;
    Handle& handle = handle_of(raw);
    if (!handle.dead) drop_shm(handle);
    return SQLITE_OK;
}

const sqlite3_io_methods kMethods = {2,         x_close,     x_read,         x_write,   x_truncate,
                                     x_sync,    x_size,      x_lock,         x_unlock,  x_reserved,
                                     x_control, x_sector,    x_capabilities, x_shm_map, x_shm_lock,
                                     x_barrier, x_shm_unmap, nullptr,        nullptr};

int v_open(sqlite3_vfs*, const char* name, sqlite3_file* raw, int flags, int* out) {
    const Unseen unseen;
    Files& files = all();
    const std::string path = name ? name : "temporary-" + std::to_string(files.opened);
    const auto found = files.named.find(path);
    if (found == files.named.end() && (flags & SQLITE_OPEN_CREATE) == 0) {
        raw->pMethods = nullptr;
        return SQLITE_CANTOPEN;
    }
    ++files.opened;
    auto& file = files.named[path];
    if (!file) file = new_file(path);
    Handle& handle = handle_of(raw);
    handle = Handle{};
    handle.pMethods = &kMethods;
    handle.file = file.get();
    handle.process = quiet() ? -1 : current_process();  // an oracle is nobody's
    file->handles.push_back(&handle);
    if (out) *out = flags;
    return SQLITE_OK;
}

int v_delete(sqlite3_vfs*, const char* name, int) {
    const Unseen unseen;
    Files& files = all();
    const auto found = files.named.find(name);
    if (found == files.named.end()) return SQLITE_IOERR_DELETE_NOENT;
    point('u', found->second->object);
    files.gone.push_back(std::move(found->second));
    files.named.erase(found);
    return SQLITE_OK;
}

int v_access(sqlite3_vfs*, const char* name, int, int* result) {
    const Unseen unseen;
    *result = all().named.contains(name) ? 1 : 0;
    return SQLITE_OK;
}

int v_full(sqlite3_vfs*, const char* name, int size, char* out) {
    sqlite3_snprintf(size, out, "%s", name);
    return SQLITE_OK;
}

int v_randomness(sqlite3_vfs*, int size, char* out) {
    std::memset(out, 42, static_cast<std::size_t>(size));
    return size;
}

int v_sleep(sqlite3_vfs*, int microseconds) {
    seam::sleep_in_callback(std::chrono::microseconds(microseconds));
    return microseconds;
}

int v_time64(sqlite3_vfs*, sqlite3_int64* out) {
    constexpr sqlite3_int64 kJulianEpoch = 210866760000000;
    *out = kJulianEpoch +
           std::chrono::duration_cast<std::chrono::milliseconds>(seam::wall_now().time_since_epoch()).count();
    return SQLITE_OK;
}

int v_time(sqlite3_vfs* self, double* out) {
    sqlite3_int64 milliseconds = 0;
    v_time64(self, &milliseconds);
    *out = static_cast<double>(milliseconds) / 86400000.0;
    return SQLITE_OK;
}

int v_error(sqlite3_vfs*, int, char*) { return 0; }

/// With a trace: every statement, with its values, where it begins.
int trace_statement(unsigned, void*, void* statement, void*) {
    if (quiet() || !tracing()) return 0;
    char* text = sqlite3_expanded_sql(static_cast<sqlite3_stmt*>(statement));
    if (text) {
        std::string line;
        for (const char* at = text; *at; ++at) {
            const char c = *at == '\n' ? ' ' : *at;
            if (c != ' ' || line.empty() || line.back() != ' ') line += c;
        }
        constexpr std::size_t kLongest = 400;
        if (line.size() > kLongest) line = line.substr(0, kLongest) + " …";
        trace("sql " + line);
    }
    sqlite3_free(text);
    return 0;
}

void row_changed(void*, int, const char*, const char* table, sqlite3_int64 rowid) {
    const Unseen unseen;
    if (on_change && !quiet()) on_change(table, rowid);
}

int attach_extension(sqlite3* database, char**, const sqlite3_api_routines*) {
    attach(database);
    return SQLITE_OK;
}

bool installed = false;

sqlite3_vfs& the_vfs() {
    static sqlite3_vfs made = {.iVersion = 2,
                               .szOsFile = sizeof(Handle),
                               .mxPathname = 512,
                               .pNext = nullptr,
                               .zName = "sim",
                               .pAppData = nullptr,
                               .xOpen = v_open,
                               .xDelete = v_delete,
                               .xAccess = v_access,
                               .xFullPathname = v_full,
                               .xDlOpen = nullptr,
                               .xDlError = nullptr,
                               .xDlSym = nullptr,
                               .xDlClose = nullptr,
                               .xRandomness = v_randomness,
                               .xSleep = v_sleep,
                               .xCurrentTime = v_time,
                               .xGetLastError = v_error,
                               .xCurrentTimeInt64 = v_time64,
                               .xSetSystemCall = nullptr,
                               .xGetSystemCall = nullptr,
                               .xNextSystemCall = nullptr};
    return made;
}

}  // namespace

void attach(sqlite3* database) noexcept {
    sqlite3_update_hook(database, row_changed, nullptr);
    if (tracing()) sqlite3_trace_v2(database, SQLITE_TRACE_STMT, trace_statement, nullptr);
}

void install() {
    installed = true;
    // One task runs at a time: a mutex of SQLite's could only block the baton, or hide a race.
    sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    // The allocator is as quick as what SQLite has before it, and what a connection has not used need not be put back.
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
    sqlite3_config(SQLITE_CONFIG_PAGECACHE, nullptr, 0, 0);
    memory::install();
    sqlite3_initialize();
    sqlite3_vfs_register(&the_vfs(), 1);
    sqlite3_auto_extension(reinterpret_cast<void (*)()>(attach_extension));
    memory::keep();
}

void reset() noexcept {
    Files& files = all();
    for (auto& [path, file] : files.named) files.gone.push_back(std::move(file));
    for (auto& file : files.gone) {
        if (file->bytes.capacity() > 0) files.spare.push_back(std::exchange(file->bytes, {}));
        file->regions.clear();
    }
    files.named.clear();
    files.opened = 0;
    memory::reset();
    connections::reset();
    // The generator is global: without this the salts of the log differ from run to run.
    if (installed) sqlite3_randomness(0, nullptr);
}

void drop(int process) noexcept {
    for (auto& [path, file] : all().named) {
        const auto handles = file->handles;
        for (Handle* handle : handles) {
            if (handle->process != process) continue;
            set_lock(*handle, SQLITE_LOCK_NONE);
            drop_shm(*handle);
            handle->dead = true;
            std::erase(file->handles, handle);
        }
    }
}

std::size_t open_files(int process) noexcept {
    std::size_t count = 0;
    for (const auto& [path, file] : all().named) {
        count += static_cast<std::size_t>(std::ranges::count_if(
            file->handles, [process](const Handle* handle) { return handle->process == process; }));
    }
    return count;
}

std::string bytes_of(const std::string& path) {
    const auto found = all().named.find(path);
    if (found == all().named.end()) return {};
    const auto& bytes = found->second->bytes;
    return {bytes.begin(), bytes.end()};
}

void put(const std::string& path, const std::string& bytes) {
    ++all().opened;
    auto& file = all().named[path];
    file = new_file(path);
    const auto* begin = reinterpret_cast<const unsigned char*>(bytes.data());
    file->bytes.assign(begin, begin + bytes.size());
    const auto image = files_of_images.named.find(path);
    file->from_image = image != files_of_images.named.end() && image->second->bytes.size() == bytes.size();
}

void put_image(const std::string& path, const std::string& bytes) {
    const InImages images;
    put(path, bytes);
    auto& image = all().named[path]->bytes;
    // Without a log, and not the version of it that a connection to the file itself may have pages of.
    constexpr std::size_t kFormats = 18, kChange = 24, kValidFor = 92, kHeader = 100;
    if (image.size() < kHeader) return;
    image[kFormats] = image[kFormats + 1] = 1;
    image[kChange] ^= 0x80;
    image[kValidFor] ^= 0x80;
}

bool is_from_image(const std::string& path) noexcept {
    const auto found = all().named.find(path);
    return found != all().named.end() && found->second->from_image;
}

void move_out(sqlite3_file* raw) noexcept {
    const Unseen unseen;
    Handle& handle = handle_of(raw);
    std::erase(handle.file->handles, &handle);
    ++all().opened;
    handle.file = all().named[handle.file->path].get();
    handle.process = quiet() ? -1 : current_process();
    handle.file->handles.push_back(&handle);
}

InImages::InImages() noexcept { files_now = &files_of_images; }
InImages::~InImages() { files_now = &files_of_worlds; }

}  // namespace dbos::sim::vfs
