import os,glob
for p in glob.glob('/proc/[0-9]*'):
    try:
        if os.readlink(p+'/exe')!='/work/main/build/release/vellum' or b'panic=0' not in open(p+'/cmdline','rb').read(): continue
        for l in open(p+'/maps'):
            f=l.split(); a,b=[int(x,16) for x in f[0].split('-')]
            n=f[5] if len(f)>5 else ''
            if b-a>(1<<30) or any(s in n for s in('heap','stack','vdso','vellum-guest')) : print(f[0],f[1],n,'%.1f MiB'%((b-a)/2**20), 'class %x'%(a&((1<<43)-1)))
        break
    except OSError: pass
