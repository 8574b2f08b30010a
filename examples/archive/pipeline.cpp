#include "pipeline.hpp"

#include <unistd.h>

#include <filesystem>
#include <thread>

#include "files.hpp"
#include "manifest.hpp"

namespace archive {

namespace fs = std::filesystem;

Pipeline::Pipeline(std::string process, const std::string& out, std::chrono::milliseconds pace)
    : process_(std::move(process)), pid_(::getpid()), log_(log_path(out)), pace_(pace) {}

void Pipeline::log(Event event, const std::string& workflow, const std::string& step,
                   const std::string& execution, const std::string& rest) const {
    log_.append({.event = event,
                 .process = process_,
                 .pid = pid_,
                 .workflow = workflow,
                 .step = step,
                 .execution = execution,
                 .rest = rest});
}

// A step that also writes the side log: begin and end when it runs, replay when its result came from the checkpoint.
template <class F>
auto Pipeline::logged_step(dbos::Context& ctx, const dbos::Name& name, F work) const {
    const std::string workflow = ctx.workflow_id();
    const std::string step = name.string();
    bool ran = false;
    auto result = ctx.step(name, [&] {
        ran = true;
        const std::string execution = process_ + '/' + std::to_string(++executions_);
        log(Event::begin, workflow, step, execution);
        try {
            const auto earliest_end = std::chrono::steady_clock::now() + pace_;
            auto value = work();
            value.ran_by = execution;
            std::this_thread::sleep_until(earliest_end);
            log(Event::end, workflow, step, execution);
            return value;
        } catch (const std::exception& error) {
            log(Event::fail, workflow, step, execution, error.what());
            throw CannotArchive(error.what());
        }
    });
    if (!ran) log(Event::replay, workflow, step, {});
    return result;
}

namespace {

// What a child ends with is recorded, so each replay takes the same way. Other errors are not caught: they are no outcome.
FileResult result_of(const dbos::WorkflowHandle<FileResult>& child, const std::string& path) {
    const auto failed = [&](const std::exception& error) {
        return FileResult{.path = path, .state = "failed", .detail = error.what()};
    };
    try {
        return child.get_result();
    } catch (const CannotArchive& error) {
        return failed(error);
    } catch (const dbos::AwaitedWorkflowCancelled& error) {
        return failed(error);
    } catch (const dbos::AwaitedWorkflowMaxRecovery& error) {
        return failed(error);
    }
}

}  // namespace

// One child per file, all waiting in a queue that every worker serves; then the manifest. If the process dies anywhere in
// here, another one goes on: children that were started are found by their ids, results that were seen by their records.
Summary Pipeline::archive_tree(dbos::Context& ctx, const Tree& tree) const {
    std::vector<dbos::WorkflowHandle<FileResult>> children;
    children.reserve(tree.files.size());
    for (const SourceFile& file : tree.files) {
        children.push_back(
            ctx.start_workflow(ArchiveFile, {.queue_name = tree.file_queue, .workflow_id = file.workflow_id},
                               FileJob{.root = tree.root, .out = tree.out, .file = file}));
    }

    Manifest manifest{.root = tree.root};
    Summary summary;
    for (std::size_t i = 0; i < children.size(); ++i) {
        FileResult result = result_of(children[i], tree.files[i].path);
        ++(result.state == "archived" ? summary.archived
           : result.state == "failed" ? summary.failed
                                      : summary.skipped);
        manifest.files.push_back(std::move(result));
    }

    const ManifestWritten written = logged_step(ctx, "write_manifest", [&] {
        const std::string text = to_text(manifest);
        const fs::path out = tree.out;
        write_file(out / "manifest.json", unique_temporary(out, "manifest"), text);
        return ManifestWritten{.sha256 = sha256_of(text)};
    });
    summary.manifest_sha256 = written.sha256;
    return summary;
}

// The file is done with, for the progress bar, whatever has become of it.
FileResult Pipeline::archive_file(dbos::Context& ctx, const FileJob& job) const {
    try {
        FileResult result = take_steps(ctx, job);
        log(Event::done, ctx.workflow_id(), {}, {}, result.state);
        return result;
    } catch (const CannotArchive&) {
        log(Event::done, ctx.workflow_id(), {}, {}, "failed");
        throw;
    }
}

// Four steps. Each may be repeated if the process dies before its checkpoint; none is after it.
FileResult Pipeline::take_steps(dbos::Context& ctx, const FileJob& job) const {
    const fs::path source = fs::path(job.root) / job.file.path;
    const fs::path out = job.out;
    const Stamp stamp{.size = job.file.size, .mtime_ns = job.file.mtime_ns};
    FileResult result{.path = job.file.path, .size = job.file.size};
    const auto end_as = [&](const std::string& state, const std::string& detail) {
        result.state = state;
        result.detail = detail;
        return result;
    };

    const Hashed hashed = logged_step(ctx, "hash", [&] {
        try {
            return Hashed{.sha256 = hash_source(source, stamp), .size = stamp.size};
        } catch (const SourceGone& gone) {
            return Hashed{.state = gone.state(), .detail = gone.what()};
        }
    });
    if (!hashed.state.empty()) return end_as(hashed.state, hashed.detail);
    result.sha256 = hashed.sha256;

    const Compressed compressed = logged_step(ctx, "compress", [&] {
        try {
            const fs::path temporary = unique_temporary(out, job.file.workflow_id);
            const CompressedFile file = compress(source, stamp, temporary);
            if (file.source_sha256 != hashed.sha256) {
                fs::remove(temporary);
                throw SourceGone("changed", "its contents changed between two readings");
            }
            return Compressed{.temporary = temporary.filename(),
                              .object_sha256 = file.object_sha256,
                              .object_size = file.object_size};
        } catch (const SourceGone& gone) {
            return Compressed{.state = gone.state(), .detail = gone.what()};
        }
    });
    if (!compressed.state.empty()) return end_as(compressed.state, compressed.detail);
    result.object_size = compressed.object_size;
    const fs::path temporary = temporary_directory(out) / compressed.temporary;

    logged_step(ctx, "verify", [&] {
        const Content content = content_of_object(temporary);
        if (content.sha256 != hashed.sha256 || content.size != hashed.size) {
            throw std::runtime_error("the compressed file does not decompress to its source");
        }
        return Verified{.sha256 = content.sha256};
    });

    logged_step(ctx, "publish", [&] {
        const std::string object = object_name(hashed.sha256);
        publish(temporary, out / object, compressed.object_sha256);
        return Published{.object = object};
    });
    return end_as("archived", {});
}

}  // namespace archive
