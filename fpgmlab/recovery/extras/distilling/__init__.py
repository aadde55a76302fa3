"""Behind `fpgmlab.Distill`: which layers are compared and which channels are the same ones, and how far they are apart.

`layers` looks at what each layer gives, `channels` finds which of the teacher's channels a pruned student still has,
`matching` puts both together, `watching` notes layers' outputs in a training, `teacher` runs a teacher once a batch,
`distances` compares.
"""
