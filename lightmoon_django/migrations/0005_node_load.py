"""How much a node has to do, for those who place actors."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("lightmoon", "0004_node_network"),
    ]

    operations = [
        migrations.AddField(
            model_name="node",
            name="load",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
    ]
