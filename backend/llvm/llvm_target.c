/*
 * llvm_target.c -- modules to machine code: verification, objects, the image; or text for people.
 */
#include "backend/llvm/llvm_target.h"
#include "backend/llvm/llvm_object.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* An LLVM message becomes a report; the message is freed. */
static fl_status llvm_failed(fl_gen *gen, const char *doing, char *message)
{
    fl_status s = fl_error(gen->dg, FL_E_GENERATED_CODE, FL_NOWHERE, "%s of program \"%s\" failed: %s", doing, gen->g->name,
                           message ? message : "no reason given");
    LLVMDisposeMessage(message);
    return s;
}

static fl_status copy_out(fl_gen *gen, const void *bytes, size_t n, void **image, size_t *size)
{
    *image = malloc(n ? n : 1);
    if (*image == NULL)
        return fl_out_of_memory(gen->dg);
    memcpy(*image, bytes, n);
    *size = n;
    return FL_OK;
}

/* The emitters advance addresses themselves: loop strength reduction finds nothing and costs a sixth of the time. */
static void choose_passes(void)
{
    static const char *const options[] = {"flen", "-disable-lsr"};
    static bool chosen;

    if (!chosen)
        LLVMParseCommandLineOptions((int)FL_COUNT(options), options, NULL);
    chosen = true;
}

/* NULL (reported) on failure. */
static LLVMTargetMachineRef new_machine(fl_gen *gen)
{
    LLVMTargetRef target;
    char *message = NULL;

    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    choose_passes();
    if (LLVMGetTargetFromTriple("x86_64-pc-linux-gnu", &target, &message) != 0) {
        gen->status = llvm_failed(gen, "finding the target", message);
        return NULL;
    }
    LLVMTargetMachineRef machine = LLVMCreateTargetMachine(target, "x86_64-pc-linux-gnu", gen->cpu, "", LLVMCodeGenLevelLess,
                                                           LLVMRelocPIC, LLVMCodeModelSmall);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(gen->module, layout);
    LLVMSetTarget(gen->module, "x86_64-pc-linux-gnu");
    LLVMDisposeTargetData(layout);
    return machine;
}

/* The module as text; `optimised`: after LLVM's own passes at level 2, which images do without. */
static fl_status write_ir(fl_gen *gen, LLVMTargetMachineRef machine, bool optimised, void **image, size_t *size)
{
    if (optimised) {
        LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
        LLVMErrorRef error = LLVMRunPasses(gen->module, "default<O2>", machine, options);
        LLVMDisposePassBuilderOptions(options);
        if (error != NULL) {
            char *words = LLVMGetErrorMessage(error);
            fl_status failed = fl_error(gen->dg, FL_E_GENERATED_CODE, FL_NOWHERE, "LLVM's passes failed: %s", words);
            LLVMDisposeErrorMessage(words);
            return failed;
        }
    }
    char *text = LLVMPrintModuleToString(gen->module);
    fl_status s = copy_out(gen, text, strlen(text), image, size);
    LLVMDisposeMessage(text);
    return s;
}

/* ------------------------------------------------------------------------------------------------------ objects */

typedef struct job {
    LLVMModuleRef module;
    LLVMTargetMachineRef machine;
    LLVMCodeGenFileType type;
    LLVMMemoryBufferRef object; /* NULL: failed */
    const char *doing;          /* that failed */
    char *message;
} job;

/* On any thread, for a module of its own context. */
static void *run_job(void *arg)
{
    job *j = arg;

    j->doing = "verification";
    if (LLVMVerifyModule(j->module, LLVMReturnStatusAction, &j->message) != 0)
        return NULL;
    LLVMDisposeMessage(j->message);
    j->message = NULL;
    j->doing = "code generation";
    if (LLVMTargetMachineEmitToMemoryBuffer(j->machine, j->module, j->type, &j->message, &j->object) != 0)
        j->object = NULL;
    return NULL;
}

static fl_status report_job(fl_gen *gen, const job *j)
{
    return j->object != NULL ? FL_OK : llvm_failed(gen, j->doing, j->message);
}

/* The last job in this thread, the others in threads of their own, or here, where there is no CPU for them or no thread to be had. */
static void run_jobs(job *jobs, unsigned n)
{
    pthread_t thread[L_MODULES];
    bool running[L_MODULES] = {false};
    sigset_t all, old;
    cpu_set_t cpus;
#ifdef __SANITIZE_THREAD__
    bool several = false; /* the generator runs in a child, where this sanitizer allows no new threads */
    (void)cpus;
#else
    bool several = sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) > 1;
#endif

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* whoever asked for signals gets them where he waits for them */
    for (unsigned i = 0; several && i + 1 < n; i++)
        running[i] = pthread_create(&thread[i], NULL, run_job, &jobs[i]) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    for (unsigned i = n; i-- > 0;)
        if (!running[i])
            run_job(&jobs[i]);
    for (unsigned i = 0; i < n; i++)
        if (running[i])
            pthread_join(thread[i], NULL);
}

/* Objects of n jobs, linked. */
static fl_status link_jobs(const job *jobs, unsigned n, void **image, size_t *size, fl_diag *dg)
{
    fl_object objects[L_MODULES];

    for (unsigned i = 0; i < n; i++)
        objects[i] = (fl_object){LLVMGetBufferStart(jobs[i].object), LLVMGetBufferSize(jobs[i].object)};
    return fl_objects_link(objects, n, image, size, dg);
}

fl_status l_write_image(fl_gen *part, void **image, size_t *size)
{
    job jobs[L_MODULES] = {{0}};
    unsigned n = 0;
    fl_status s = FL_OK;

    for (; n < L_MODULES && (n == 0 || LLVMGetFirstFunction(part[n].module) != NULL) && s == FL_OK; n++) {
        jobs[n] = (job){.module = part[n].module, .machine = new_machine(&part[n]), .type = LLVMObjectFile};
        s = jobs[n].machine == NULL ? part[n].status : FL_OK;
    }
    if (s == FL_OK)
        run_jobs(jobs, n);
    for (unsigned i = 0; i < n && s == FL_OK; i++)
        s = report_job(&part[i], &jobs[i]);
    if (s == FL_OK)
        s = link_jobs(jobs, n, image, size, part[0].dg);
    for (unsigned i = 0; i < n; i++) {
        if (jobs[i].object != NULL)
            LLVMDisposeMemoryBuffer(jobs[i].object);
        if (jobs[i].machine != NULL)
            LLVMDisposeTargetMachine(jobs[i].machine);
    }
    return s;
}

static fl_status write_code(fl_gen *gen, LLVMTargetMachineRef machine, bool assembly, void **text, size_t *size)
{
    job j = {.module = gen->module, .machine = machine, .type = assembly ? LLVMAssemblyFile : LLVMObjectFile};

    LLVMSetTargetMachineAsmVerbosity(machine, 1);
    run_job(&j);
    FL_TRY(report_job(gen, &j));
    fl_status s = copy_out(gen, LLVMGetBufferStart(j.object), LLVMGetBufferSize(j.object), text, size);
    LLVMDisposeMemoryBuffer(j.object);
    return s;
}

fl_status l_write_text(fl_gen *gen, const char *emit, void **text, size_t *size)
{
    LLVMTargetMachineRef machine = new_machine(gen);
    bool optimised = strcmp(emit, "llvm-opt") == 0;

    if (machine == NULL)
        return gen->status;
    fl_status s = optimised || strcmp(emit, "llvm") == 0 ? write_ir(gen, machine, optimised, text, size)
                                                         : write_code(gen, machine, strcmp(emit, "asm") == 0, text, size);
    LLVMDisposeTargetMachine(machine);
    return s;
}
